//! Log severity: OpenTelemetry's numbers and the words people use.

/// OpenTelemetry severity ranges (1–24, four numbers each; 0 is "not given").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Not given (0).
    Unspecified,
    /// 1–4.
    Trace,
    /// 5–8.
    Debug,
    /// 9–12.
    Info,
    /// 13–16.
    Warn,
    /// 17–20.
    Error,
    /// 21–24.
    Fatal,
}

impl Severity {
    /// The range a severity number falls in; numbers above 24 count as fatal.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Unspecified,
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            _ => Self::Fatal,
        }
    }

    /// Reads the words and numbers loggers write (`info`, `WARNING`, `err`, `30` of pino/bunyan is not guessed).
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lower = [0u8; 12];
        let bytes = text.trim().as_bytes();
        let lower = lower.get_mut(..bytes.len())?;
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" | b"verbose" | b"finest" => Self::Trace,
            b"debug" | b"dbg" | b"fine" | b"d" => Self::Debug,
            b"info" | b"information" | b"inf" | b"notice" | b"i" => Self::Info,
            b"warn" | b"warning" | b"wrn" | b"w" => Self::Warn,
            b"error" | b"err" | b"severe" | b"e" => Self::Error,
            b"fatal" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency" | b"panic" | b"f" => Self::Fatal,
            _ => return None,
        })
    }

    /// The lowest OpenTelemetry number of the range.
    pub fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }

    /// OpenTelemetry's short name, upper case; empty when not given.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}
