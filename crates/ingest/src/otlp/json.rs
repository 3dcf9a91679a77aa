//! OTLP JSON bodies written as the protobuf bodies that say the same.
//!
//! After protobuf's JSON mapping with OTLP's exceptions: names in camel case or as in the `.proto` file, 64-bit
//! integers as strings or numbers, enums as numbers or names, trace and span ids as hexadecimal digits, unknown
//! fields ignored. A value may be nested about 40 levels deep: the JSON reader stops at 128 of its own.

mod schema;

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::IngestError;
use crate::proto::Writer;
use schema::{Field, Kind, Schema};

/// Standard alphabet; padding may be there or not.
const BASE64_ANY_PADDING: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// An `ExportLogsServiceRequest` from JSON.
///
/// # Errors
/// When the body is no JSON, or a field has a value it cannot have; with line and column.
pub fn logs_to_protobuf(body: &[u8]) -> Result<Vec<u8>, IngestError> {
    to_protobuf(body, &schema::LOGS_REQUEST)
}

/// An `ExportTraceServiceRequest` from JSON.
///
/// # Errors
/// As [`logs_to_protobuf`].
pub fn traces_to_protobuf(body: &[u8]) -> Result<Vec<u8>, IngestError> {
    to_protobuf(body, &schema::TRACES_REQUEST)
}

/// An `ExportMetricsServiceRequest` from JSON.
///
/// # Errors
/// As [`logs_to_protobuf`].
pub fn metrics_to_protobuf(body: &[u8]) -> Result<Vec<u8>, IngestError> {
    to_protobuf(body, &schema::METRICS_REQUEST)
}

fn to_protobuf(body: &[u8], schema: &'static Schema) -> Result<Vec<u8>, IngestError> {
    let mut writer = Writer::new(Vec::with_capacity(body.len() / 2));
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Message { schema, writer: &mut writer }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|error| {
        let text = error.to_string();
        let reason = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned();
        IngestError::Json { message: schema.name, line: error.line(), column: error.column(), reason }
    })?;
    Ok(writer.into_bytes())
}

/// The fields of one message.
struct Message<'w> {
    schema: &'static Schema,
    writer: &'w mut Writer,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a JSON object ({})", self.schema.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.schema))? {
            match field {
                Some(field) => map.next_value_seed(Value { field, writer: self.writer, in_list: false })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A field's name; unknown ones are `None`.
struct Key(&'static Schema);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a field name of {}", self.0.name)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.fields.iter().find(|field| is_name(field.name, name)))
    }
}

/// Whether `given` is the camel-case name `camel`, or the same in snake case.
fn is_name(camel: &str, given: &str) -> bool {
    if camel == given {
        return true;
    }
    let mut given = given.bytes();
    for c in camel.bytes() {
        if c.is_ascii_uppercase() && given.next() != Some(b'_') {
            return false;
        }
        if given.next() != Some(c.to_ascii_lowercase()) {
            return false;
        }
    }
    given.next().is_none()
}

/// A field's value.
struct Value<'w> {
    field: &'static Field,
    writer: &'w mut Writer,
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let (number, kind) = (self.field.number, self.field.kind);
        let range = |low: i128, high: i128| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(E::custom(format!("{value} is out of range for field {}: expected {low} to {high}", self.field.name)))
            }
        };
        match kind {
            Kind::Uint32 => range(0, u32::MAX.into()).map(|()| self.writer.varint(number, value as u64)),
            Kind::Fixed32 => range(0, u32::MAX.into()).map(|()| self.writer.fixed32(number, value as u32)),
            Kind::Enum(_) => range(i32::MIN.into(), i32::MAX.into()).map(|()| self.writer.varint(number, value as i64 as u64)),
            Kind::Sint32 => {
                let zigzag = |v: i32| (v << 1 ^ v >> 31) as u32;
                range(i32::MIN.into(), i32::MAX.into()).map(|()| self.writer.varint(number, zigzag(value as i32).into()))
            }
            Kind::Int64 => range(i64::MIN.into(), i64::MAX.into()).map(|()| self.writer.varint(number, value as i64 as u64)),
            Kind::Sfixed64 => range(i64::MIN.into(), i64::MAX.into()).map(|()| self.writer.fixed64(number, value as i64 as u64)),
            Kind::Uint64 => range(0, u64::MAX.into()).map(|()| self.writer.varint(number, value as u64)),
            Kind::Fixed64 => range(0, u64::MAX.into()).map(|()| self.writer.fixed64(number, value as u64)),
            Kind::Double => {
                self.writer.double(number, value as f64);
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Other("an integer"), &self)),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.field.kind {
            Kind::Str => "a string",
            Kind::Id => "a string of hexadecimal digits",
            Kind::Bytes => "a string in base64",
            Kind::Bool => "true or false",
            Kind::Double => "a number",
            Kind::Enum(_) => "an enum's number or name",
            Kind::Message(_) => "an object",
            _ => "an integer, as a number or a string",
        };
        let list = if self.field.repeated && !self.in_list { "an array of: " } else { "" };
        write!(f, "{list}{what} for field {}", self.field.name)
    }

    /// `null` means that the field is not there; in a list it holds the place of an empty message.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.in_list && matches!(self.field.kind, Kind::Message(_)) {
            self.writer.bytes(self.field.number, &[]);
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool if self.in_list == self.field.repeated => {
                self.writer.varint(self.field.number, value.into());
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.field.kind {
            Kind::Double => {
                self.writer.double(self.field.number, value);
                Ok(())
            }
            // `1.5e18` is an integer to protobuf's JSON mapping.
            _ if value.fract() == 0.0 && value.abs() < 1e19 => self.integer(value as i128),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let number = self.field.number;
        match self.field.kind {
            Kind::Str => self.writer.bytes(number, text.as_bytes()),
            Kind::Id => self.writer.bytes(number, &id_bytes(text)),
            Kind::Bytes => {
                let standard: String = text
                    .chars()
                    .map(|c| match c {
                        '-' => '+',
                        '_' => '/',
                        c => c,
                    })
                    .collect();
                let raw =
                    BASE64_ANY_PADDING.decode(standard).map_err(|error| E::custom(format!("field {} is no base64: {error}", self.field.name)))?;
                self.writer.bytes(number, &raw);
            }
            Kind::Double => match text {
                "NaN" => self.writer.double(number, f64::NAN),
                "Infinity" => self.writer.double(number, f64::INFINITY),
                "-Infinity" => self.writer.double(number, f64::NEG_INFINITY),
                _ => match text.parse() {
                    Ok(value) => self.writer.double(number, value),
                    Err(_) => return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                },
            },
            Kind::Enum(names) => match names.iter().find(|(name, _)| *name == text) {
                Some((_, value)) => self.writer.varint(number, *value),
                None => match text.parse::<i32>() {
                    Ok(value) => return self.integer(value.into()),
                    Err(_) => return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                },
            },
            Kind::Bool | Kind::Message(_) => return Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
            _ => match text.parse::<i128>() {
                Ok(value) => return self.integer(value),
                Err(_) => return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
            },
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.repeated || self.in_list {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        while list.next_element_seed(Value { field: self.field, writer: &mut *self.writer, in_list: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(schema) = self.field.kind else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        if self.field.repeated && !self.in_list {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let open = self.writer.begin(self.field.number);
        Message { schema, writer: &mut *self.writer }.visit_map(map)?;
        self.writer.end(open);
        Ok(())
    }
}

/// The bytes of an id in hexadecimal digits. A text that is none gives its own bytes, made never as long as an
/// id, so that the row and not the whole body is refused for it.
fn id_bytes(text: &str) -> Vec<u8> {
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks(2);
    let hex: Option<Vec<u8>> = pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect();
    hex.unwrap_or_else(|| {
        let mut raw = text.as_bytes().to_vec();
        if raw.len() == 16 || raw.len() == 8 {
            raw.push(b' ');
        }
        raw
    })
}
