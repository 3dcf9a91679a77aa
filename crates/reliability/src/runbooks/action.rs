//! Actions the operator registered: the only way a runbook changes anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config_error::{Finding, FindingSeverity, Findings, nearest_name};
use crate::notify::Outbound;

/// What an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Sets a feature flag.
    FlagSet,
    /// Calls a webhook.
    #[default]
    Webhook,
}

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text.
    #[default]
    String,
    /// Any number.
    Number,
    /// Whole number.
    Integer,
    /// true or false.
    Boolean,
}

/// What a parameter may be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterSchema {
    /// Type.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// Whether it may be left out.
    pub optional: bool,
    /// Values it may have; empty for any.
    #[serde(rename = "enum")]
    pub values: Vec<Value>,
    /// Least number.
    pub minimum: Option<f64>,
    /// Greatest number.
    pub maximum: Option<f64>,
}

/// A registered action.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActionConfig {
    /// Name steps refer to.
    pub name: String,
    /// What it is.
    pub kind: ActionKind,
    /// Where to send; `{{parameter}}` is filled in and encoded.
    pub url: String,
    /// Method, default POST.
    pub method: Option<String>,
    /// Headers, as for authentication.
    pub headers: BTreeMap<String, String>,
    /// File with a token that whoever sends the request adds as `Authorization: Bearer …`.
    pub token_file: Option<PathBuf>,
    /// JSON body; texts that are `{{parameter}}` become the parameter. None for all parameters as an object.
    pub body: Option<Value>,
    /// Parameters by name.
    pub parameters: BTreeMap<String, ParameterSchema>,
}

/// Registered actions by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Actions(BTreeMap<String, ActionConfig>);

impl Actions {
    /// Checks actions; those with a fault are left out.
    pub fn new(configs: Vec<ActionConfig>, file: &str) -> (Self, Vec<Finding>) {
        let mut out = Findings::new(file);
        let mut all = BTreeMap::new();
        for (i, config) in configs.into_iter().enumerate() {
            let key = format!("actions[{i}]");
            let fault = if config.name.is_empty() {
                Some("an action needs a name".to_owned())
            } else if !config.url.starts_with("http://") && !config.url.starts_with("https://") {
                Some(format!("`{}` is no http or https address", config.url))
            } else if all.contains_key(&config.name) {
                Some(format!("action `{}` stands twice", config.name))
            } else if config.method.as_deref().is_some_and(|m| !["POST", "PUT", "PATCH", "DELETE"].contains(&m)) {
                Some("method: expected POST, PUT, PATCH or DELETE".to_owned())
            } else {
                None
            };
            match fault {
                Some(message) => out.push(FindingSeverity::Error, None, &key, message, None),
                None => {
                    all.insert(config.name.clone(), config);
                }
            }
        }
        (Self(all), out.into_list())
    }

    /// The action of a name.
    pub fn get(&self, name: &str) -> Option<&ActionConfig> {
        self.0.get(name)
    }

    /// Names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Checks parameters against an action's schema.
    ///
    /// # Errors
    /// With each fault.
    pub fn check(&self, action: &str, parameters: &Map<String, Value>) -> Result<&ActionConfig, String> {
        let Some(config) = self.0.get(action) else {
            let near = nearest_name(action, self.names()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
            return Err(format!("there is no registered action `{action}`{near}"));
        };
        let mut faults = Vec::new();
        for (name, value) in parameters {
            match config.parameters.get(name) {
                None => faults.push(format!("action `{action}` has no parameter `{name}`")),
                Some(schema) => faults.extend(schema.fault(value).map(|f| format!("parameter `{name}`: {f}"))),
            }
        }
        let missing = config.parameters.iter().filter(|(name, schema)| !schema.optional && !parameters.contains_key(*name));
        faults.extend(missing.map(|(name, _)| format!("parameter `{name}` is missing")));
        if faults.is_empty() { Ok(config) } else { Err(faults.join("; ")) }
    }

    /// Method and request of a call.
    ///
    /// # Errors
    /// As [`Actions::check`].
    pub fn request(&self, action: &str, parameters: &Map<String, Value>, idempotency_key: &str) -> Result<(String, Outbound), String> {
        let config = self.check(action, parameters)?;
        let mut url = config.url.clone();
        for (name, value) in parameters {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            url = url.replace(&format!("{{{{{name}}}}}"), &crate::template::url_encode(&text));
        }
        let body = match &config.body {
            Some(body) => replace(body, parameters),
            None => Value::Object(parameters.clone()),
        };
        let mut headers: Vec<(String, String)> = config.headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        headers.push(("Idempotency-Key".to_owned(), idempotency_key.to_owned()));
        Ok((config.method.clone().unwrap_or_else(|| "POST".to_owned()), Outbound { url, headers, body: body.to_string() }))
    }
}

impl ParameterSchema {
    fn fault(&self, value: &Value) -> Option<String> {
        let fits = match self.kind {
            ParameterType::String => value.is_string(),
            ParameterType::Number => value.is_number(),
            ParameterType::Integer => value.is_i64() || value.is_u64(),
            ParameterType::Boolean => value.is_boolean(),
        };
        if !fits {
            return Some(format!("expected a {}, found {value}", format!("{:?}", self.kind).to_lowercase()));
        }
        if !self.values.is_empty() && !self.values.contains(value) {
            return Some(format!("{value} is not among the values allowed"));
        }
        let number = value.as_f64()?;
        let below = self.minimum.is_some_and(|m| number < m);
        let above = self.maximum.is_some_and(|m| number > m);
        (below || above).then(|| format!("{number} is out of range"))
    }
}

fn replace(body: &Value, parameters: &Map<String, Value>) -> Value {
    match body {
        Value::String(text) => {
            let name = text.trim().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).map(str::trim);
            name.and_then(|n| parameters.get(n)).cloned().unwrap_or_else(|| body.clone())
        }
        Value::Array(items) => items.iter().map(|v| replace(v, parameters)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), replace(v, parameters))).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn actions() -> Actions {
        let yaml = "
- name: orders-flag
  kind: flag_set
  url: http://orders/admin/flags/{{flag}}
  method: PUT
  headers: {Authorization: Bearer x}
  body: {enabled: '{{enabled}}', by: skopos}
  parameters:
    flag: {enum: [new-pricing, faults]}
    enabled: {type: boolean}
    percent: {type: integer, optional: true, maximum: 100}
- {name: bad, url: 'file:///etc'}
";
        let (actions, findings) = Actions::new(serde_saphyr::from_str(yaml).unwrap(), "skopos.yaml");
        assert_eq!(findings.len(), 1);
        actions
    }

    #[test]
    fn parameters_keep_to_their_schema() {
        let check = |parameters: Value| actions().check("orders-flag", parameters.as_object().unwrap()).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(check(json!({"flag": "faults", "enabled": false})), Ok(()));
        assert_eq!(check(json!({"flag": "x", "enabled": "no", "other": 1, "percent": 101})).unwrap_err().split("; ").count(), 4);
        assert_eq!(check(json!({"flag": "faults"})).unwrap_err(), "parameter `enabled` is missing");
        assert!(actions().check("orders-flg", &Map::new()).unwrap_err().contains("did you mean `orders-flag`?"));
    }

    #[test]
    fn request_is_filled_in() {
        let (method, out) = actions().request("orders-flag", json!({"flag": "faults", "enabled": false}).as_object().unwrap(), "run/step").unwrap();
        assert_eq!((method.as_str(), out.url.as_str()), ("PUT", "http://orders/admin/flags/faults"));
        assert_eq!(out.body, r#"{"enabled":false,"by":"skopos"}"#);
        assert!(out.headers.contains(&("Idempotency-Key".into(), "run/step".into())));
    }
}
