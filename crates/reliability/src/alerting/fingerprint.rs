//! The identity of a label set, the same number Prometheus and Alertmanager give it.

use skopos_model::Labels;

/// FNV-1a over names and values, each followed by 0xff (`model.LabelSet.Fingerprint`). Printed as 16 hex digits.
pub fn fingerprint(labels: &Labels) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, value) in labels.iter() {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // The empty set is the offset basis itself.
        assert_eq!(fingerprint(&Labels::default()), 0xcbf2_9ce4_8422_2325);
        let one = Labels::new([("a", "1")]);
        assert_ne!(fingerprint(&one), fingerprint(&Labels::new([("a1", "")])));
        assert_ne!(fingerprint(&one), fingerprint(&Labels::new([("a", "2")])));
    }
}
