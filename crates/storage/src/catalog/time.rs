//! Times as DuckLake's tables write them.

const DAY: i64 = 86_400;

/// Year, month, day of a count of days since 1970 (proleptic Gregorian; Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `2026-11-21 12:36:46.833303+00`, from Unix nanoseconds.
pub(super) fn snapshot_time(nanos: i64) -> String {
    let micros = nanos.div_euclid(1000);
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{micros:06}+00", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_civil_time() {
        for (nanos, text) in [
            (0, "1970-01-01 00:00:00.000000+00"),
            (-1, "1969-12-31 23:59:59.999999+00"),
            (951_782_400_000_000_000, "2000-02-29 00:00:00.000000+00"),
            (1_795_264_606_833_303_999, "2026-11-21 12:36:46.833303+00"),
        ] {
            assert_eq!(snapshot_time(nanos), text);
        }
    }
}
