//! Sizes, times and lists in the words of kubectl and psql.

use jiff::SignedDuration;

pub use crate::set::bytes;

/// `45s`, `3m20s`, `2h5m`, `3d4h`: an age as kubectl writes it.
#[must_use]
pub fn age(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => two(minutes, "m", seconds % 60, "s"),
        7200..172_800 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// `12 ms`, `1.4 s`, `3m20s`: how long something took or lags.
#[must_use]
pub fn lapse(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..120_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => age(SignedDuration::from_secs(i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX))),
    }
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn and(items: &[String]) -> String {
    match items {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let sizes = [0, 1023, 1024, 1536, 16_777_216, 10 * 1024 * 1024 + 5000, 3 << 40];
        assert_eq!(sizes.map(bytes), ["0 B", "1023 B", "1 kB", "1.5 kB", "16 MB", "10 MB", "3 TB"]);
        let ages = [0, 119, 120, 200, 7200, 7500, 172_800, 190_000].map(|s| age(SignedDuration::from_secs(s)));
        assert_eq!(ages, ["0s", "119s", "2m", "3m20s", "2h", "2h5m", "2d", "2d4h"]);
        assert_eq!([7, 1450, 200_000].map(lapse), ["7 ms", "1.4 s", "3m20s"]);
    }

    #[test]
    fn lists_read_as_sentences() {
        let items: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(
            [and(&items[..0]), and(&items[..1]), and(&items[..2]), and(&items)],
            ["none", "a", "a and b", "a, b and c"]
        );
    }
}
