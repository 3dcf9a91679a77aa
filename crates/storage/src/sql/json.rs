//! Values of a result as JSON.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::temporal_conversions::timestamp_ns_to_datetime;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

/// Numbers beyond this are text: a browser's numbers lose digits there.
const EXACT_MAX: u64 = 1 << 53;

/// A type's name as SQL writes it.
pub(super) fn type_name(ty: &DataType) -> String {
    match ty {
        DataType::Null => "NULL".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "UTINYINT".to_owned(),
        DataType::UInt16 => "USMALLINT".to_owned(),
        DataType::UInt32 => "UINTEGER".to_owned(),
        DataType::UInt64 => "UBIGINT".to_owned(),
        DataType::Float16 | DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BLOB".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => format!("{}[]", type_name(field.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
            format!("STRUCT({})", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("MAP({}, {})", type_name(pair[0].data_type()), type_name(pair[1].data_type()))
            }
            _ => "MAP".to_owned(),
        },
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> Value {
    let mut text = String::new();
    skopos_model::ids::write_hex(bytes, &mut text);
    Value::String(text)
}

fn signed(n: i64) -> Value {
    if n.unsigned_abs() <= EXACT_MAX { n.into() } else { n.to_string().into() }
}

fn unsigned(n: u64) -> Value {
    if n <= EXACT_MAX { n.into() } else { n.to_string().into() }
}

fn double(d: f64) -> Value {
    serde_json::Number::from_f64(d).map_or_else(|| Value::String(d.to_string()), Value::Number)
}

/// RFC 3339 with nanoseconds.
fn instant(value: i64, unit: TimeUnit) -> Value {
    let factor = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    match value.checked_mul(factor).and_then(timestamp_ns_to_datetime) {
        Some(time) => Value::String(time.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()),
        None => Value::String(value.to_string()),
    }
}

fn list(array: &ArrayRef) -> Value {
    Value::Array((0..array.len()).map(|at| value(array, at)).collect())
}

/// The value at a row.
pub(super) fn value(array: &ArrayRef, row: usize) -> Value {
    use arrow::datatypes as t;
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<t::Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<t::Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<t::Int32Type>().value(row).into(),
        DataType::Int64 => signed(array.as_primitive::<t::Int64Type>().value(row)),
        DataType::UInt8 => array.as_primitive::<t::UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<t::UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<t::UInt32Type>().value(row).into(),
        DataType::UInt64 => unsigned(array.as_primitive::<t::UInt64Type>().value(row)),
        DataType::Float32 => double(f64::from(array.as_primitive::<t::Float32Type>().value(row))),
        DataType::Float64 => double(array.as_primitive::<t::Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, _) => {
            let ticks = match unit {
                TimeUnit::Second => array.as_primitive::<t::TimestampSecondType>().value(row),
                TimeUnit::Millisecond => array.as_primitive::<t::TimestampMillisecondType>().value(row),
                TimeUnit::Microsecond => array.as_primitive::<t::TimestampMicrosecondType>().value(row),
                TimeUnit::Nanosecond => array.as_primitive::<t::TimestampNanosecondType>().value(row),
            };
            instant(ticks, *unit)
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            value(dictionary.values(), dictionary.normalized_keys()[row])
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            Value::Object(fields.iter().zip(columns).map(|(f, column)| (f.name().clone(), value(column, row))).collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let text = |at| match value(keys, at) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object((0..entries.len()).map(|at| (text(at), value(values, at))).collect::<Map<_, _>>())
        }
        // Dates, times, intervals, decimals: as Arrow writes them.
        _ => match ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default()) {
            Ok(formatter) => Value::String(formatter.value(row).to_string()),
            Err(_) => Value::Null,
        },
    }
}
