//! What a request says about all its lines.

use std::fmt::Write as _;

/// Resource attributes that hold where a line states none itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Parameters {
    attributes: Vec<(String, String)>,
}

impl Parameters {
    /// Most parameters; later ones are left out.
    pub const MAX: usize = 64;

    /// From a query string: `service`, `env` (or `environment`), `version`, `host`, and any resource attribute as
    /// `resource.<key>`. Others are ignored, empty values too.
    pub fn from_query(query: &str) -> Self {
        let mut parameters = Self::default();
        for (key, value) in query_pairs(query) {
            parameters.set(&key, &value);
        }
        parameters
    }

    /// From resource attributes under their own names; empty ones are left out.
    pub fn of<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let stated = attributes.into_iter().filter(|(_, value)| !value.is_empty()).take(Self::MAX);
        Self { attributes: stated.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
    }

    /// Sets one, by its name in the query or as an HTTP header's value. The first of a name wins.
    pub fn set(&mut self, key: &str, value: &str) {
        let name = match key {
            "service" | "service.name" | "service_name" => "service.name",
            "env" | "environment" | "deployment.environment" | "deployment.environment.name" => "deployment.environment.name",
            "version" | "service.version" => "service.version",
            "host" | "host.name" | "hostname" => "host.name",
            other => match other.strip_prefix("resource.") {
                Some(name) if !name.is_empty() => name,
                _ => return,
            },
        };
        if !value.is_empty() && self.attributes.len() < Self::MAX && !self.attributes.iter().any(|(known, _)| known == name) {
            self.attributes.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The attributes.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A query string that [`Self::from_query`] reads back, for the write-ahead log.
    pub fn to_query(&self) -> String {
        let mut out = String::new();
        for (key, value) in self.attributes() {
            out.push_str(if out.is_empty() { "resource." } else { "&resource." });
            percent_encode(key, &mut out);
            out.push('=');
            percent_encode(value, &mut out);
        }
        out
    }
}

/// Names and values of a query string, their escapes undone.
pub(crate) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.trim_start_matches('?').split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| (percent_decoded(key), percent_decoded(value))).collect()
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|c| (*c as char).to_digit(16)).map(|d| d as u8);
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_both_ways() {
        let parameters = Parameters::from_query("service=orders%2Dapi&env=prod+eu&resource.k8s.pod.name=a%26b&limit=5&service=late&host=");
        let expected = [("service.name", "orders-api"), ("deployment.environment.name", "prod eu"), ("k8s.pod.name", "a&b")];
        assert_eq!(parameters.attributes().collect::<Vec<_>>(), expected);
        assert_eq!(Parameters::from_query(&parameters.to_query()), parameters);
        assert_eq!(Parameters::from_query("%zz=%&&=="), Parameters::default());
    }
}
