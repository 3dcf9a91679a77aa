//! What Grafana sets for single series of a chart: of it, what is no mere look is taken over or told.

use regex::Regex;
use serde_json::Value;

use super::{list, text};
use crate::dashboards::document::{Query, QueryPlugin};

/// Properties that change how a line looks, not what it says: colours here are the palette's.
const LOOKS: [&str; 31] = [
    "alias",
    "bars",
    "color",
    "custom.axisColorMode",
    "custom.axisGridShow",
    "custom.axisLabel",
    "custom.barAlignment",
    "custom.drawStyle",
    "custom.fillBelowTo",
    "custom.fillOpacity",
    "custom.gradientMode",
    "custom.lineInterpolation",
    "custom.lineStyle",
    "custom.lineWidth",
    "custom.pointSize",
    "custom.showPoints",
    "custom.spanNulls",
    "custom.thresholdsStyle",
    "dashLength",
    "dashes",
    "decimals",
    "fill",
    "fillBelowTo",
    "fillGradient",
    "hideTooltip",
    "legend",
    "lines",
    "linewidth",
    "nullPointMode",
    "pointradius",
    "zindex",
];

/// Which series are meant: the name, or a pattern of it.
enum Wanted {
    Name(String),
    Pattern(Regex),
    /// All of a query.
    Query(String),
    /// By something else.
    Other(String),
}

impl Wanted {
    fn of(pattern: &str) -> Self {
        match pattern.strip_prefix('/').and_then(|p| p.rfind('/').map(|end| &p[..end])) {
            Some(inner) => Regex::new(inner).map_or_else(|_| Self::Other(pattern.to_owned()), Self::Pattern),
            None => Self::Name(pattern.to_owned()),
        }
    }

    fn is(&self, query: &Query, id: &str) -> bool {
        let QueryPlugin::PrometheusTimeSeriesQuery { query, series_name_format, .. } = &query.spec.plugin else { return false };
        let name = series_name_format.as_deref().unwrap_or(query);
        match self {
            Self::Name(wanted) => name == wanted,
            // What labels give is not known yet; the rest of the name mostly decides.
            Self::Pattern(pattern) => pattern.is_match(&name.replace("{{", "").replace("}}", "")),
            Self::Query(wanted) => wanted == id,
            Self::Other(_) => false,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Pattern(pattern) => format!("/{pattern}/"),
            Self::Query(id) => format!("query {id}"),
            Self::Other(what) => what.clone(),
        }
    }
}

/// Applies what is set for single series to the queries that give them; `ids` are the queries' letters.
pub(super) fn apply(grafana: &Value, queries: &mut [Query], ids: &[String], notes: &mut Vec<String>) {
    for rule in grafana.get("fieldConfig").map(|f| list(f, "overrides")).unwrap_or_default() {
        let matcher = rule.get("matcher").unwrap_or(&Value::Null);
        let options = text(matcher, "options");
        let wanted = match text(matcher, "id") {
            "byName" => Wanted::Name(options.to_owned()),
            "byRegexp" => Wanted::of(&if options.starts_with('/') { options.to_owned() } else { format!("/{options}/") }),
            "byFrameRefID" => Wanted::Query(options.to_owned()),
            other => Wanted::Other(other.to_owned()),
        };
        for property in list(rule, "properties") {
            let value = property.get("value").unwrap_or(&Value::Null);
            set(&wanted, text(property, "id"), value, queries, ids, notes);
        }
    }
    for rule in list(grafana, "seriesOverrides") {
        let wanted = Wanted::of(text(rule, "alias"));
        for (key, value) in rule.as_object().into_iter().flatten() {
            // The first axis is the one there is.
            if key != "yaxis" || value.as_f64() == Some(2.0) {
                set(&wanted, key, value, queries, ids, notes);
            }
        }
    }
}

fn set(wanted: &Wanted, id: &str, value: &Value, queries: &mut [Query], ids: &[String], notes: &mut Vec<String>) {
    let meant = queries.iter_mut().zip(ids).filter(|(query, id)| wanted.is(query, id)).map(|(query, _)| query);
    let mut done = 0;
    match id {
        "transform" | "custom.transform" => {
            if value.as_str() != Some("negative-Y") {
                return;
            }
            for query in meant {
                if let QueryPlugin::PrometheusTimeSeriesQuery { query, .. } = &mut query.spec.plugin {
                    *query = format!("-({query})");
                    done += 1;
                }
            }
            if done == 0 {
                notes.push(format!("{} stands above the axis: which series it names is known by their labels only", wanted.shown()));
            }
        }
        "displayName" => {
            for query in meant {
                if let (QueryPlugin::PrometheusTimeSeriesQuery { series_name_format, .. }, Some(name)) = (&mut query.spec.plugin, value.as_str()) {
                    *series_name_format = Some(super::modern(name));
                    done += 1;
                }
            }
            if done == 0 {
                notes.push(format!("{} keeps its name: which series it names is known by their labels only", wanted.shown()));
            }
        }
        "yaxis" => notes.push(format!("{} had an axis of its own on the right: there is one axis", wanted.shown())),
        "custom.axisPlacement" if value.as_str() == Some("right") => {
            notes.push(format!("{} had an axis of its own on the right: there is one axis", wanted.shown()));
        }
        "stack" | "custom.stacking" => {
            let apart = match value {
                Value::Bool(stacks) => !stacks,
                own => own.get("group") == Some(&Value::Bool(false)) || text(own, "mode") == "none",
            };
            if apart && ids.len() > 1 {
                notes.push(format!("{} stood beside the others, not on top of them: all are on top of each other", wanted.shown()));
            }
        }
        // The second axis, which is told already, or none.
        "custom.axisPlacement" | "custom.axisSoftMin" | "custom.axisSoftMax" | "min" | "max" | "thresholds" | "links" => {}
        "unit" => notes.push(format!("{} had the unit {}: the axis has one unit", wanted.shown(), value.as_str().unwrap_or("of its own"))),
        "custom.hideFrom" => {
            if value.pointer("/viz") == Some(&Value::Bool(true)) {
                notes.push(format!("{} was hidden and is shown", wanted.shown()));
            }
        }
        looks if LOOKS.contains(&looks) => {}
        other => notes.push(format!("{other} of {} is left out", wanted.shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn applied(grafana: &Value, formats: &[&str]) -> (Vec<(String, String)>, Vec<String>) {
        let mut queries: Vec<Query> = formats.iter().map(|f| Query::promql("rate(x[1m])", Some((*f).to_owned()))).collect();
        let ids: Vec<String> = (0..formats.len()).map(|i| char::from(b'A' + u8::try_from(i).expect("few")).to_string()).collect();
        let mut notes = Vec::new();
        apply(grafana, &mut queries, &ids, &mut notes);
        let shown = queries.into_iter().map(|q| match q.spec.plugin {
            QueryPlugin::PrometheusTimeSeriesQuery { query, series_name_format, .. } => (query, series_name_format.unwrap_or_default()),
            _ => Default::default(),
        });
        (shown.collect(), notes)
    }

    #[test]
    fn what_stood_below_the_axis_stands_there() {
        let old = json!({"seriesOverrides": [{"alias": "/.*Trans.*/", "transform": "negative-Y"}, {"alias": "/.*/", "color": "#fff", "fill": 0}]});
        let (queries, notes) = applied(&old, &["{{device}} - Transmit", "{{device}} - Receive"]);
        assert_eq!((queries[0].0.as_str(), queries[1].0.as_str(), notes.len()), ("-(rate(x[1m]))", "rate(x[1m])", 0), "{notes:?}");
        let new = json!({"fieldConfig": {"overrides": [
            {"matcher": {"id": "byRegexp", "options": "/.*out$/"}, "properties": [{"id": "custom.transform", "value": "negative-Y"}]},
            {"matcher": {"id": "byName", "options": "in"}, "properties": [{"id": "displayName", "value": "received"}, {"id": "color", "value": {"mode": "fixed"}}]},
            {"matcher": {"id": "byName", "options": "limit"}, "properties": [{"id": "unit", "value": "bytes"}, {"id": "custom.axisPlacement", "value": "right"}]}]}});
        let (queries, notes) = applied(&new, &["out", "in", "limit"]);
        assert_eq!((queries[0].0.as_str(), queries[1].1.as_str()), ("-(rate(x[1m]))", "received"));
        assert_eq!(notes, ["limit had the unit bytes: the axis has one unit", "limit had an axis of its own on the right: there is one axis"]);
    }
}
