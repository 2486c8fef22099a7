//! Sizes as Kubernetes writes them: `512Mi`, `10Gi`, `1500`, `2G`.
//!
//! Only whole numbers with one suffix, because every size of ours is a count of bytes or of things.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a size: write a whole number with an optional suffix k, M, G, T, Ki, Mi, Gi or Ti")]
pub struct QuantityError {
    text: String,
}

/// Suffixes of a quantity and their factors; the source is the Kubernetes resource quantity format.
const SUFFIXES: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// Parses a size into bytes.
///
/// # Errors
/// When the text is not a whole number with a known suffix, or does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let (digits, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1));
    let refuse = || QuantityError { text: text.chars().take(40).collect() };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse());
    }
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(refuse)
}

#[cfg(test)]
mod tests;
