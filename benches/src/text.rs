//! Counts and their nouns, as the page shows them.

/// Returns a count with a comma between thousands.
pub(crate) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Returns a count and its noun, in the singular or with an `s`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", grouped(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (count, shown) in [
            (0, "0"),
            (100, "100"),
            (1000, "1,000"),
            (10_000, "10,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(count), shown);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(1, "cancel"), "1 cancel");
        assert_eq!(counted(0, "cancel"), "0 cancels");
        assert_eq!(counted(1000, "environment"), "1,000 environments");
    }
}
