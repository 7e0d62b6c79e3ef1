//! Scaled integers as people read them.

/// `value` scaled by ten to the minus `places`, with that many decimals.
pub fn fixed(value: i64, places: u32) -> String {
    let scale = 10i64.pow(places);
    let sign = if value < 0 { "-" } else { "" };
    let (whole, part) = ((value / scale).abs(), (value % scale).abs());
    format!("{sign}{whole}.{part:0width$}", width = places as usize)
}

/// `value` in tenths of `10 * part`, rounded to the nearest: micrometres as millimetres with `part` 100.
pub fn tenths(value: u64, part: u64) -> String {
    fixed(((value + part / 2) / part) as i64, 1)
}

/// Like [`fixed`], without zeros at the end.
pub fn trimmed(value: i64, places: u32) -> String {
    fixed(value, places).trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_integers_read_as_decimals() {
        assert_eq!(fixed(-12_345, 4), "-1.2345");
        assert_eq!(fixed(-5, 4), "-0.0005");
        assert_eq!(fixed(0, 1), "0.0");
        assert_eq!((tenths(92_449, 100), tenths(92_450, 100)), ("92.4".into(), "92.5".into()));
        assert_eq!(trimmed(60_000, 3), "60");
        assert_eq!(trimmed(7_350, 3), "7.35");
        assert_eq!(trimmed(0, 3), "0");
    }
}
