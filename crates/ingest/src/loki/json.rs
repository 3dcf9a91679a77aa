//! A push in JSON: `{"streams":[{"stream":{…},"values":[["<nanoseconds>","line",{…}]]}]}`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use skopos_model::{Decoded, LogBatch};

use super::Push;
use crate::context::Context;
use crate::error::IngestError;
use crate::json_lines::parse_timestamp;
use crate::rows::text;

/// Decodes a push in JSON. As with Loki it is taken or refused as a whole; times are decimal nanoseconds, and laxer
/// also what loggers write.
///
/// # Errors
/// When the body is no JSON of this shape, naming the place.
pub fn decode(body: &[u8], ctx: &Context<'_>) -> Result<Decoded<LogBatch>, IngestError> {
    let mut push = Push::new(ctx);
    let body = text(body, &mut push.rows.changed);
    let request: Request<'_> = serde_json::from_str(&body).map_err(IngestError::json("PushRequest"))?;
    for stream in &request.streams {
        let labels = stream.stream.0.iter().map(|(name, value)| (&**name, &**value));
        if !push.stream(labels, stream.values.len() as u64) {
            continue;
        }
        for entry in &stream.values {
            push.begin();
            for (name, value) in &entry.metadata.0 {
                push.metadata(name, value);
            }
            push.entry(Some(entry.time), &entry.line);
        }
    }
    Ok(push.rows.finish())
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    streams: Vec<Stream<'a>>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: Pairs<'a>,
    #[serde(borrow)]
    values: Vec<Entry<'a>>,
}

/// An object of texts, in the order they came.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A text, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

struct Entry<'a> {
    time: i64,
    line: Cow<'a, str>,
    metadata: Pairs<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of a time in nanoseconds (a string), a line, and maybe an object of structured metadata")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entry<'de>, A::Error> {
                let Text(time) = list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let Text(line) = list.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                let metadata = list.next_element()?.unwrap_or_default();
                if list.next_element::<IgnoredAny>()?.is_some() {
                    return Err(A::Error::invalid_length(4, &self));
                }
                let known = time.parse().ok().or_else(|| lax_time(&time));
                let time = known.ok_or_else(|| A::Error::custom(format_args!("{time:?} is no time in Unix nanoseconds")))?;
                Ok(Entry { time, line, metadata })
            }
        }
        deserializer.deserialize_seq(EntryVisitor)
    }
}

/// Dates, and numbers with a fraction or an exponent, whose unit is told by their size.
fn lax_time(text: &str) -> Option<i64> {
    parse_timestamp(text).or_else(|| text.parse().ok().and_then(crate::json_lines::from_float))
}
