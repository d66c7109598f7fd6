//! Limits for the length of text from outside.

use std::borrow::Cow;

/// Returns at most `limit` bytes of the text. A text that was cut ends in an ellipsis.
#[must_use]
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len()));
    let kept = text.get(..end).unwrap_or_default();
    Cow::Owned(format!("{kept}{MARK}"))
}

/// Returns bytes as hexadecimal digits.
#[must_use]
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .collect()
}

/// The lengths in bytes that each text is cut to, tried one after the other until all texts fit together.
const LIMITS: [usize; 8] = [
    usize::MAX,
    256 * 1024,
    128 * 1024,
    64 * 1024,
    32 * 1024,
    16 * 1024,
    4 * 1024,
    1024,
];

/// Returns the result of `write` with the highest limit at which the result has at most `most` bytes.
/// `write` cuts each text to the limit that it is given.
#[must_use]
pub(crate) fn fit(most: usize, write: impl Fn(usize) -> String) -> String {
    let mut written = String::new();
    for limit in LIMITS {
        written = write(limit);
        if written.len() <= most {
            break;
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_text_is_its_beginning_and_an_ellipsis(text in any::<String>(), limit in 0..64_usize) {
            let kept = cut(&text, limit);
            if text.len() <= limit {
                prop_assert_eq!(kept, text.as_str());
            } else {
                // The ellipsis has three bytes, whatever the limit.
                prop_assert!(kept.len() <= limit.max(3));
                let beginning = kept.strip_suffix('…').unwrap();
                prop_assert!(text.starts_with(beginning));
                // The loss is at most the ellipsis and one character.
                prop_assert!(beginning.len() + 6 >= limit.min(text.len()));
            }
        }

        #[test]
        fn texts_fit_at_the_first_limit_that_does(
            lengths in prop::collection::vec(0..400_000_usize, 1..4),
            most in 4_000..1_000_000_usize,
        ) {
            let written = |limit: usize| {
                lengths.iter().map(|length| (*length).min(limit)).sum::<usize>()
            };
            let size = fit(most, |limit| "x".repeat(written(limit))).len();
            let expected = LIMITS.into_iter().map(written).find(|size| *size <= most);
            prop_assert!(size <= most);
            prop_assert_eq!(Some(size), expected);
        }
    }

    #[test]
    fn texts_are_cut_only_as_far_as_they_must_be() {
        let text = "x".repeat(300_000);
        let write = |limit| cut(&text, limit).repeat(2);
        assert_eq!(fit(1_000_000, write).len(), 600_000);
        for kibibytes in [256, 128, 64, 32, 16, 4, 1] {
            let most = 2 * kibibytes * 1024;
            assert_eq!(fit(most, write).len(), most, "{kibibytes} KiB");
        }
        assert_eq!(fit(10, write).len(), 2 * 1024);
    }

    #[test]
    fn short_text_stays_as_it_is() {
        assert!(matches!(cut("abc", 3), Cow::Borrowed("abc")));
    }

    #[test]
    fn long_text_is_cut_between_characters_and_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdefgh", 6), "abc…");
        assert_eq!(cut("ääää", 7), "ää…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert_eq!(cut("abcdef", 0), "…");
    }
}
