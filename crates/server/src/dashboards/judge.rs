//! What a single number means: the limits it has passed, the word that stands for it.

use serde::Serialize;

use super::document::{ChartSpec, Mapping, MappingResult};
use super::unit;

/// How good a number is. Documents say it in colours, pages and pictures in glyph and word as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// Neither good nor bad.
    Info,
    /// Good.
    Ok,
    /// To be watched.
    Warning,
    /// Bad.
    Critical,
}

impl Tone {
    /// The colour that stands for it in documents.
    pub fn colour(self) -> &'static str {
        match self {
            Self::Info => "blue",
            Self::Ok => "green",
            Self::Warning => "orange",
            Self::Critical => "red",
        }
    }

    /// What a colour means: red is bad, orange and yellow are to be watched, green is good. None for grey and for what
    /// is no colour.
    pub fn of_colour(colour: &str) -> Option<Self> {
        let colour = colour.trim().to_ascii_lowercase();
        let name = ["super-light-", "semi-dark-", "dark-", "light-"].iter().find_map(|p| colour.strip_prefix(p)).unwrap_or(&colour);
        match name {
            "red" => return Some(Self::Critical),
            "orange" | "yellow" => return Some(Self::Warning),
            "green" => return Some(Self::Ok),
            "blue" | "purple" => return Some(Self::Info),
            _ => {}
        }
        let [r, g, b] = channels(&colour)?;
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        let range = most - least;
        if range < 0.15 {
            return None;
        }
        let hue = if most == r {
            60.0 * ((g - b) / range).rem_euclid(6.0)
        } else if most == g {
            60.0 * ((b - r) / range + 2.0)
        } else {
            60.0 * ((r - g) / range + 4.0)
        };
        Some(match hue {
            h if !(20.0..340.0).contains(&h) => Self::Critical,
            h if h < 70.0 => Self::Warning,
            h if h < 170.0 => Self::Ok,
            _ => Self::Info,
        })
    }
}

/// Red, green, blue of `#rgb`, `#rrggbb`, `rgb(…)`, `rgba(…)`, from 0 to 1.
fn channels(colour: &str) -> Option<[f64; 3]> {
    if let Some(hex) = colour.strip_prefix('#') {
        let digit = |i: usize| hex.get(i..=i).and_then(|d| u8::from_str_radix(d, 16).ok()).map(f64::from);
        return match hex.len() {
            3 | 4 => Some([digit(0)? / 15.0, digit(1)? / 15.0, digit(2)? / 15.0]),
            6 | 8 => {
                let pair = |i: usize| Some((digit(i)? * 16.0 + digit(i + 1)?) / 255.0);
                Some([pair(0)?, pair(2)?, pair(4)?])
            }
            _ => None,
        };
    }
    let inner = colour.strip_prefix("rgba").or_else(|| colour.strip_prefix("rgb"))?.trim().strip_prefix('(')?.strip_suffix(')')?;
    let mut parts = inner.split(',').map(|p| p.trim().parse::<f64>().ok());
    let mut next = || Some(parts.next()?? / 255.0);
    Some([next()?, next()?, next()?])
}

/// What is said of a number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// How good it is; none when nothing says so.
    pub tone: Option<Tone>,
    /// Which limit makes it bad, as `over 80%`.
    pub says: Option<String>,
    /// What is shown in its place.
    pub text: Option<String>,
}

fn fits(mapping: &Mapping, value: Option<f64>) -> Option<&MappingResult> {
    match mapping {
        Mapping::Value { value: wanted, result } => {
            let wanted = wanted.trim();
            let number = wanted.parse::<f64>().ok();
            (number.is_some() && number == value).then_some(result)
        }
        Mapping::Range { from, to, result } => value.is_some_and(|v| from.is_none_or(|f| v >= f) && to.is_none_or(|t| v <= t)).then_some(result),
        Mapping::Misc { value: wanted, result } => (value.is_none() && matches!(wanted.as_str(), "null" | "empty" | "NaN")).then_some(result),
    }
}

/// What a panel's settings say of a number.
pub fn judge(chart: &ChartSpec, value: Option<f64>) -> Judged {
    let mut judged = Judged::default();
    let mapped = chart.mappings.iter().find_map(|m| fits(m, value));
    judged.text = mapped.map(|m| m.value.clone()).filter(|t| !t.is_empty());
    let own = mapped.and_then(|m| m.color.as_deref()).and_then(Tone::of_colour);
    if own.is_some() {
        judged.tone = own;
        return judged;
    }
    let (Some(thresholds), Some(value)) = (&chart.thresholds, value) else { return judged };
    let steps = &thresholds.steps;
    let coloured = steps.iter().any(|s| s.color.is_some()) || thresholds.default_color.is_some();
    // Without colours each limit is one that must not be passed.
    let tone = |at: Option<usize>| match at {
        None if coloured => thresholds.default_color.as_deref().and_then(Tone::of_colour),
        None => None,
        Some(i) if coloured => steps[i].color.as_deref().and_then(Tone::of_colour),
        Some(_) => Some(Tone::Critical),
    };
    let passed = steps.iter().rposition(|s| value >= s.value);
    judged.tone = tone(passed);
    if judged.tone < Some(Tone::Warning) {
        return judged;
    }
    let name = |i: usize| {
        steps[i].name.clone().unwrap_or_else(|| {
            let format = chart.format.clone().unwrap_or_default();
            unit::format(Some(steps[i].value), &format.unit, format.decimal_places)
        })
    };
    // Where more is better, what is missing is the next limit; else it is the one that was passed.
    let next = passed.map_or(0, |i| i + 1);
    judged.says = if next < steps.len() && tone(Some(next)) < judged.tone {
        Some(format!("under {}", name(next)))
    } else {
        passed.map(|i| format!("over {}", name(i)))
    };
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboards::document::{Threshold, Thresholds};

    fn chart(default: Option<&str>, steps: &[(f64, Option<&str>)]) -> ChartSpec {
        let step = |(value, color): &(f64, Option<&str>)| Threshold { value: *value, name: None, color: color.map(str::to_owned) };
        let thresholds = Thresholds { default_color: default.map(str::to_owned), steps: steps.iter().map(step).collect() };
        ChartSpec { thresholds: Some(thresholds), ..ChartSpec::default() }
    }

    #[track_caller]
    fn check(chart: &ChartSpec, value: f64, tone: Option<Tone>, says: Option<&str>) {
        let judged = judge(chart, Some(value));
        assert_eq!((judged.tone, judged.says.as_deref()), (tone, says), "{value}");
    }

    #[test]
    fn limits_say_what_is_wrong() {
        let plain = chart(None, &[(80.0, None), (90.0, None)]);
        check(&plain, 50.0, None, None);
        check(&plain, 85.0, Some(Tone::Critical), Some("over 80"));
        check(&plain, 95.0, Some(Tone::Critical), Some("over 90"));
        let rising = chart(Some("green"), &[(80.0, Some("#EAB839")), (90.0, Some("rgba(245, 54, 54, 0.9)"))]);
        check(&rising, 50.0, Some(Tone::Ok), None);
        check(&rising, 85.0, Some(Tone::Warning), Some("over 80"));
        check(&rising, 95.0, Some(Tone::Critical), Some("over 90"));
        let falling = chart(Some("semi-dark-red"), &[(80.0, Some("orange")), (95.0, Some("green"))]);
        check(&falling, 50.0, Some(Tone::Critical), Some("under 80"));
        check(&falling, 85.0, Some(Tone::Warning), Some("under 95"));
        check(&falling, 99.0, Some(Tone::Ok), None);
        assert_eq!(judge(&falling, None), Judged::default());
    }

    #[test]
    fn words_stand_for_numbers() {
        let result = |value: &str, color: Option<&str>| MappingResult { value: value.to_owned(), color: color.map(str::to_owned) };
        let mut chart = chart(Some("green"), &[(1.0, Some("red"))]);
        chart.mappings = vec![
            Mapping::Value { value: "1".to_owned(), result: result("UP", Some("green")) },
            Mapping::Range { from: Some(2.0), to: None, result: result("many", None) },
            Mapping::Misc { value: "null".to_owned(), result: result("N/A", None) },
        ];
        let of = |value: Option<f64>| {
            let judged = judge(&chart, value);
            (judged.text, judged.tone)
        };
        assert_eq!(of(Some(1.0)), (Some("UP".to_owned()), Some(Tone::Ok)), "a word's own colour counts");
        assert_eq!(of(Some(5.0)), (Some("many".to_owned()), Some(Tone::Critical)));
        assert_eq!(of(None), (Some("N/A".to_owned()), None));
        assert_eq!(of(Some(0.0)), (None, Some(Tone::Ok)));
    }

    #[test]
    fn colours_mean_something() {
        let check = |colour: &str, tone: Option<Tone>| assert_eq!(Tone::of_colour(colour), tone, "{colour}");
        check("dark-red", Some(Tone::Critical));
        check("#E24D42", Some(Tone::Critical));
        check("#f2495c", Some(Tone::Critical));
        check("rgba(237, 129, 40, 0.89)", Some(Tone::Warning));
        check("#FADE2A", Some(Tone::Warning));
        check("rgb(50,172,45)", Some(Tone::Ok));
        check("#299c46", Some(Tone::Ok));
        check("#1F60C4", Some(Tone::Info));
        check("#ccc", None);
        check("transparent", None);
        check("#zz", None);
    }
}
