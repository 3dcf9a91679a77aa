//! An order.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Most items of one order.
pub(crate) const MAX_QUANTITY: u32 = 100;
/// Longest stock-keeping unit.
pub(crate) const MAX_SKU_BYTES: usize = 64;

/// What a customer asks for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrder {
    pub(crate) sku: String,
    pub(crate) quantity: u32,
}

impl NewOrder {
    /// Says what is wrong with the order, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sku_bytes = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if self.sku.is_empty() || self.sku.len() > MAX_SKU_BYTES || !self.sku.bytes().all(sku_bytes) {
            return Err(format!("sku: expected 1 to {MAX_SKU_BYTES} letters, digits or dashes"));
        }
        if !(1..=MAX_QUANTITY).contains(&self.quantity) {
            return Err(format!("quantity: {} is not between 1 and {MAX_QUANTITY}", self.quantity));
        }
        Ok(())
    }
}

/// An order as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) sku: String,
    pub(crate) quantity: u32,
    pub(crate) amount_cents: i64,
    /// `paid`, `shipped` or `cancelled`.
    pub(crate) status: String,
    pub(crate) created_ms: i64,
}

/// The wall clock in milliseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the service's one reading of the wall clock; everything below takes the time as an argument")]
pub(crate) fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_checked() {
        for (sku, quantity, good) in [("tea-1", 1, true), ("", 1, false), ("tea 1", 1, false), ("tea", 0, false), ("tea", 101, false)] {
            let order = NewOrder { sku: sku.to_owned(), quantity };
            assert_eq!(order.check().is_ok(), good, "{order:?}");
        }
    }
}
