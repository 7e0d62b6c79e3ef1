//! DICOM's dates and times as seconds, to be compared with each other only. No time zone is applied:
//! the series of one study come from one scanner.

const DAY_S: f64 = 86_400.0;

/// `HHMMSS.FFFFFF`, or its beginning, or with colons as before 1993: seconds of the day.
pub(super) fn time_s(text: &str) -> Option<f64> {
    let text = text.trim().replace(':', "");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |range| whole.get(range).map_or(Some(0.0), number);
    if whole.len() > 6 || whole.len() % 2 == 1 || whole.is_empty() || fraction.len() > 6 {
        return None;
    }
    let (hours, minutes, seconds) = (digits(0..2)?, digits(2..4)?, digits(4..6)?);
    let fraction = number(fraction)? / 10f64.powi(fraction.len() as i32);
    let in_range = hours < 24.0 && minutes < 60.0 && seconds <= 60.0;
    in_range.then_some(hours * 3600.0 + minutes * 60.0 + seconds + fraction)
}

/// A time with its date, when there is one: seconds since a fixed day.
pub(super) fn moment_s(date: Option<&str>, time: Option<&str>) -> Option<f64> {
    Some(date.and_then(days).unwrap_or(0.0) * DAY_S + time_s(time?)?)
}

/// `YYYYMMDDHHMMSS.FFFFFF&ZZXX`: seconds since the same day.
pub(super) fn date_time_s(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(['+', '-']).unwrap_or(text.len());
    moment_s(text.get(..8), text.get(8..end))
}

/// `YYYYMMDD` as a count of days, in which later days are larger and a day is 1 (the civil calendar,
/// counted from March so that leap days come last).
fn days(date: &str) -> Option<f64> {
    let date = date.trim().replace('.', "");
    if date.len() != 8 {
        return None;
    }
    let (year, month, day) =
        (number(date.get(0..4)?)?, number(date.get(4..6)?)?, number(date.get(6..8)?)?);
    if !(1.0..=12.0).contains(&month) || !(1.0..=31.0).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let leap_days = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    Some(365.0 * year + leap_days + ((153.0 * month + 2.0) / 5.0).floor() + day)
}

fn number(digits: &str) -> Option<f64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_of_the_day() {
        assert_eq!(time_s("003636.166000"), Some(2196.166));
        assert_eq!(time_s("10:50:28"), Some(39_028.0));
        assert_eq!(time_s("0838"), Some(31_080.0));
        for text in ["", "8", "250000", "12345", "1200000", "12a000", "120000.x"] {
            assert_eq!(time_s(text), None, "{text}");
        }
    }

    #[test]
    fn midnight_and_leap_days_lie_between_days() {
        let step = |a: &str, b: &str| date_time_s(b).unwrap() - date_time_s(a).unwrap();
        assert_eq!(step("20240228235930", "20240229000010.5+0100"), 40.5);
        assert_eq!(step("20230228235930", "20230301000010"), 40.0);
        assert_eq!(step("19991231235959", "20000101000000"), 1.0);
        assert_eq!(date_time_s("2024022"), None);
    }
}
