//! Kubernetes quantities: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

use std::fmt;
use std::str::FromStr;

use super::{Invalid, invalid, named};

/// A positive Kubernetes quantity in its canonical text, the one the API server answers with: `1024Mi` is `1Gi`, `0.5` is
/// `500m`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quantity {
    text: String,
    nano: u128,
}

const NANO: u128 = 1_000_000_000;
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// For tests of what happens when a value is not what its type promises: the text, and an amount beside it.
    #[cfg(test)]
    pub(crate) fn unchecked(text: &str, bytes: u64) -> Self {
        Self { text: text.to_owned(), nano: u128::from(bytes) * NANO }
    }

    /// In bytes, rounded up.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.units(NANO)
    }

    /// In thousandths, rounded up: 1000 is one processor.
    #[must_use]
    pub fn millicores(&self) -> u64 {
        self.units(NANO / 1000)
    }

    fn units(&self, unit: u128) -> u64 {
        u64::try_from(self.nano.div_ceil(unit)).unwrap_or(u64::MAX)
    }

    /// Whether this is an amount of memory PostgreSQL can run in.
    ///
    /// # Errors
    ///
    /// When it is too little, or not whole bytes.
    pub fn check_memory(&self) -> Result<(), Invalid> {
        self.whole(NANO, "bytes: M and Mi stand for millions, m for thousandths")?;
        if self.bytes() < 128 << 20 {
            return invalid(
                "expected at least 128Mi: PostgreSQL, a replica's clone and the page cache do not fit into less",
            );
        }
        Ok(())
    }

    /// Whether a member's data fits into a volume of this size.
    ///
    /// # Errors
    ///
    /// When it is too little, or not whole bytes.
    pub fn check_size(&self) -> Result<(), Invalid> {
        self.whole(NANO, "bytes: M and Mi stand for millions, m for thousandths")?;
        if self.bytes() < 100_000_000 {
            return invalid(
                "expected at least 100M: an empty PostgreSQL with its write-ahead log does not fit into less",
            );
        }
        Ok(())
    }

    /// Whether this is a processor request Kubernetes takes.
    ///
    /// # Errors
    ///
    /// When it is finer than a thousandth, or more than any node has.
    pub fn check_cpu(&self) -> Result<(), Invalid> {
        self.whole(NANO / 1000, "thousandths of a processor: 1m is the least")?;
        if self.millicores() > 1_000_000 {
            return invalid("expected at most 1000 processors: memory is a setting of its own");
        }
        Ok(())
    }

    fn whole(&self, unit: u128, what: &str) -> Result<(), Invalid> {
        if self.nano.is_multiple_of(unit) { Ok(()) } else { invalid(format!("expected whole {what}")) }
    }
}

impl FromStr for Quantity {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return invalid("expected an amount like 1Gi or 500m, found nothing");
        }
        if text.starts_with('-') {
            return invalid("expected an amount above zero");
        }
        // No amount that matters needs more; the bound keeps the arithmetic below within its type.
        if text.len() > 32 {
            return invalid("expected an amount of at most 32 characters");
        }
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return invalid("expected a number at the start, like 1Gi or 0.5");
        }
        let Some(suffix) = Suffix::parse(suffix) else {
            return invalid(unknown_suffix(suffix));
        };
        let Some(nano) = scaled(whole, fraction, suffix) else {
            return invalid("expected an amount below 2^63, and no finer than a billionth");
        };
        if nano == 0 {
            return invalid("expected an amount above zero");
        }
        Ok(Self { text: canonical(nano, suffix), nano })
    }
}

fn unknown_suffix(suffix: &str) -> String {
    let likely = match suffix {
        "K" => "k or Ki",
        "g" | "gb" | "Gb" | "GB" | "gi" | "GiB" | "gib" => "Gi or G",
        "mb" | "Mb" | "MB" | "mi" | "MiB" | "mib" => "Mi or M",
        "t" | "tb" | "Tb" | "TB" | "ti" | "TiB" | "tib" => "Ti or T",
        "ki" | "kb" | "KB" | "kB" | "KiB" => "Ki or k",
        _ => "",
    };
    if likely.is_empty() {
        let shown: Vec<String> = suffix.chars().take(1).map(named).collect();
        format!(
            "expected a unit of Ki Mi Gi Ti Pi Ei, n u m k M G T P E or none, found {} after the number",
            shown.join("")
        )
    } else {
        format!("{suffix:?} is not a unit of Kubernetes: write {likely}")
    }
}

#[derive(Clone, Copy)]
enum Suffix {
    /// A power of 1024.
    Binary(u32),
    /// A power of 10, written as a letter.
    Decimal(i32),
    /// A power of 10, written as `e3`.
    Exponent(i32),
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        if let Some(at) = (1u32..).zip(&BINARY[1..]).find(|(_, suffix)| **suffix == text) {
            return Some(Self::Binary(at.0));
        }
        if let Some(at) = (-9..).step_by(3).zip(&DECIMAL).find(|(_, suffix)| **suffix == text) {
            return Some(Self::Decimal(at.0));
        }
        let exponent = text.strip_prefix(['e', 'E'])?;
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        exponent.parse().ok().map(Self::Exponent)
    }
}

/// The amount in billionths; `None` when it is not a whole number of them, or is 2^63 or more.
fn scaled(whole: &str, fraction: &str, suffix: Suffix) -> Option<u128> {
    let fraction = fraction.trim_end_matches('0');
    let digits: u128 = match format!("{whole}{fraction}").trim_start_matches('0') {
        "" => return Some(0),
        digits => digits.parse().ok()?,
    };
    let (multiplier, exponent) = match suffix {
        Suffix::Binary(power) => (1u128 << (10 * power), 0),
        Suffix::Decimal(power) | Suffix::Exponent(power) => (1, power),
    };
    let power = exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let ten = 10u128.checked_pow(power.unsigned_abs())?;
    let product = digits.checked_mul(multiplier)?;
    let nano =
        if power >= 0 { product.checked_mul(ten)? } else { product.is_multiple_of(ten).then(|| product / ten)? };
    (nano < NANO << 63).then_some(nano)
}

/// As the API server writes it: no fraction, the largest unit that divides it, in the family it was written in; binary
/// units only for whole numbers from 1024 up.
fn canonical(nano: u128, suffix: Suffix) -> String {
    if matches!(suffix, Suffix::Binary(_)) && nano.is_multiple_of(NANO) && nano >= 1024 * NANO {
        let (mut number, mut power) = (nano / NANO, 0);
        while number.is_multiple_of(1024) && power + 1 < BINARY.len() {
            number /= 1024;
            power += 1;
        }
        return format!("{number}{}", BINARY[power]);
    }
    let (mut number, mut power) = (nano, 0);
    while number.is_multiple_of(1000) && power + 1 < DECIMAL.len() {
        number /= 1000;
        power += 1;
    }
    match (suffix, power) {
        (Suffix::Exponent(_), 0) => format!("{number}e-9"),
        (Suffix::Exponent(_), 1) => format!("{number}e-6"),
        (Suffix::Exponent(_), 2) => format!("{number}e-3"),
        (Suffix::Exponent(_), 3) => number.to_string(),
        (Suffix::Exponent(_), power) => format!("{number}e{}", 3 * (power - 3)),
        (_, power) => format!("{number}{}", DECIMAL[power]),
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::refused;
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect(text)
    }

    #[test]
    fn values_and_canonical_text() {
        for (text, canonical, bytes, milli) in [
            ("1", "1", 1, 1000),
            ("+1", "1", 1, 1000),
            ("100m", "100m", 1, 100),
            ("0.5", "500m", 1, 500),
            (".5", "500m", 1, 500),
            ("1.", "1", 1, 1000),
            ("1000m", "1", 1, 1000),
            ("1500m", "1500m", 2, 1500),
            ("100M", "100M", 100_000_000, 100_000_000_000),
            ("1Gi", "1Gi", 1 << 30, 1000 << 30),
            ("1024Mi", "1Gi", 1 << 30, 1000 << 30),
            ("1.5Gi", "1536Mi", 3 << 29, 1500 << 30),
            (".5Ki", "512", 512, 512_000),
            ("0.0005Ki", "512m", 1, 512),
            ("1e3", "1e3", 1000, 1_000_000),
            ("1E3", "1e3", 1000, 1_000_000),
            ("12e4", "120e3", 120_000, 120_000_000),
            ("1e-1", "100e-3", 1, 100),
            ("1E", "1E", 1_000_000_000_000_000_000, u64::MAX),
            ("1n", "1n", 1, 1),
            ("007", "7", 7, 7000),
            ("1000k", "1M", 1_000_000, 1_000_000_000),
        ] {
            let quantity = quantity(text);
            assert_eq!(
                (quantity.as_str(), quantity.bytes(), quantity.millicores()),
                (canonical, bytes, milli),
                "{text}"
            );
        }
    }

    #[test]
    fn refusals() {
        refused::<Quantity>(&[
            ("", "nothing"),
            ("0", "above zero"),
            ("0Gi", "above zero"),
            ("0.000", "above zero"),
            ("-1Gi", "above zero"),
            ("Gi", "a number at the start"),
            (".", "a number at the start"),
            ("1.2.3", "a number at the start"),
            ("1GB", "write Gi or G"),
            ("1gb", "write Gi or G"),
            ("1K", "write k or Ki"),
            ("1MB", "write Mi or M"),
            ("1 Gi", "found a space"),
            ("1Gi\n", "unit"),
            ("1x", "found 'x'"),
            ("1e", "unit"),
            ("1e+", "unit"),
            ("1e1.5", "unit"),
            ("8Ei", "below 2^63"),
            ("1e99", "below 2^63"),
            ("1e99999999999", "unit"),
            ("1e2147483647", "below 2^63"),
            ("1e-2147483648", "below 2^63"),
            ("0.1n", "billionth"),
            ("99999999999999999999999999999999", "below 2^63"),
            ("999999999999999999999999999999999", "at most 32"),
            ("１", "a number at the start"),
        ]);
    }

    #[test]
    fn minimums() {
        for (text, cpu, memory, size) in [
            ("1Gi", false, true, true),
            ("100m", true, false, false),
            ("128Mi", false, true, true),
            ("127Mi", false, false, true),
            ("100M", false, false, true),
            ("99M", false, false, false),
            ("100u", false, false, false),
            ("4", true, false, false),
            ("512000000000m", false, true, true),
            ("512000000001m", false, false, false),
        ] {
            let quantity = quantity(text);
            let found = (quantity.check_cpu().is_ok(), quantity.check_memory().is_ok(), quantity.check_size().is_ok());
            assert_eq!(found, (cpu, memory, size), "{text}");
        }
        assert!(quantity("512m").check_memory().is_err_and(|error| error.reason.contains("m for thousandths")));
    }

    proptest! {
        #[test]
        fn canonical_text_is_a_fixed_point(text in "[0-9]{1,6}(\\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|m|k|M|G|e[0-6])?") {
            if let Ok(first) = text.parse::<Quantity>() {
                let second = quantity(first.as_str());
                prop_assert_eq!(&second, &first);
            }
        }
    }
}
