//! Comma-separated globs over names: what `ENVIRONMENTS` and `PROTECTED_ENVIRONMENTS` hold.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A set of globs; a name matches when one of them does.
///
/// `*` stands for any characters, `?` for one, `[..]` for one of a class, `{a,b}` for either.
#[derive(Clone, Debug)]
pub struct Patterns(GlobSet);

/// A glob that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the glob `{glob}` cannot be read: {why}")]
pub struct BadGlob {
    /// The glob as it was written.
    pub glob: String,
    /// What is wrong with it.
    pub why: String,
}

impl Patterns {
    /// Reads globs separated by commas. A comma inside braces separates nothing; spaces round a
    /// glob are ignored, and so is an empty one.
    pub fn comma_separated(text: &str) -> Result<Self, BadGlob> {
        Self::from_globs(split_outside_braces(text))
    }

    /// Reads globs separated by white space.
    pub fn space_separated(text: &str) -> Result<Self, BadGlob> {
        Self::from_globs(text.split_whitespace())
    }

    fn from_globs<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, BadGlob> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            let built = GlobBuilder::new(glob)
                .empty_alternates(true)
                .build()
                .map_err(|error| BadGlob {
                    glob: glob.to_owned(),
                    why: error.kind().to_string(),
                })?;
            set.add(built);
        }
        set.build().map(Self).map_err(|error| BadGlob {
            glob: error.glob().unwrap_or_default().to_owned(),
            why: error.kind().to_string(),
        })
    }

    /// No glob at all: nothing matches.
    #[must_use]
    pub fn none() -> Self {
        Self(GlobSet::empty())
    }

    /// Whether one of the globs matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Whether there is no glob at all, so that nothing can match.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts between the commas that stand outside braces, trimmed, without the empty ones.
fn split_outside_braces(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut escaped = false;
    text.split(move |character| {
        let separates = !escaped && depth == 0 && character == ',';
        match character {
            '{' if !escaped => depth += 1,
            '}' if !escaped => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        separates
    })
    .map(str::trim)
    .filter(|glob| !glob.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A glob with braces, and all the names that it stands for.
    fn braced() -> impl Strategy<Value = (String, Vec<String>)> {
        let word = "[a-z0-9_-]{0,3}";
        (word, prop::collection::vec(word, 1..4), word).prop_map(|(before, each, after)| {
            let glob = format!("{before}{{{}}}{after}", each.join(","));
            let names = each.iter().map(|one| format!("{before}{one}{after}"));
            (glob, names.collect())
        })
    }

    proptest! {
        #[test]
        fn globs_stand_for_exactly_their_names(
            globs in prop::collection::vec(braced(), 1..4),
            separator in "[ ]{0,2},[ ,]{0,2}",
            other in "[a-z0-9_-]{0,9}",
        ) {
            let text: Vec<_> = globs.iter().map(|(glob, _)| glob.as_str()).collect();
            let read = patterns(&text.join(&separator));
            let mut names = globs.iter().flat_map(|(_, names)| names);
            for name in names.clone() {
                prop_assert!(read.matches(name), "{name}");
            }
            prop_assert_eq!(read.matches(&other), names.any(|name| *name == other));
        }

        #[test]
        fn any_text_is_globs_or_names_the_one_that_is_none(
            text in prop_oneof![any::<String>(), r"[a-c,{}\[\]!*?\\ -]{0,24}"],
            name in "[a-z0-9_-]{0,9}",
        ) {
            for read in [Patterns::comma_separated(&text), Patterns::space_separated(&text)] {
                match read {
                    Ok(patterns) => prop_assert!(!(patterns.is_empty() && patterns.matches(&name))),
                    Err(bad) => prop_assert!(text.contains(&bad.glob), "{bad}"),
                }
            }
        }

        #[test]
        fn splitting_loses_nothing_but_commas_and_spaces(text in "[a-c,{}\\\\ ]{0,24}") {
            let kept = |text: &str| text.replace([',', ' '], "");
            let parts: Vec<_> = split_outside_braces(&text).collect();
            prop_assert_eq!(kept(&parts.concat()), kept(&text));
            prop_assert!(parts.iter().all(|part| !part.is_empty() && part.trim() == *part));
        }
    }

    #[test]
    fn nested_without_end_is_refused_or_read() {
        let deep = format!("{}a{}", "{".repeat(2_000), "}".repeat(2_000));
        let _ = Patterns::comma_separated(&deep);
        assert!(Patterns::comma_separated(&"{".repeat(4_000)).is_err());
        let wide = vec!["{a,b}*?[a-z]"; 300].join(",");
        assert!(patterns(&wide).matches("axyz"));
    }

    fn patterns(text: &str) -> Patterns {
        Patterns::comma_separated(text).unwrap()
    }

    #[test]
    fn a_star_matches_any_character_a_slash_too() {
        assert!(patterns("*").matches("a/b-c.d"));
        assert!(patterns("prod-*").matches("prod-"));
        assert!(!patterns("prod-*").matches("preprod-net"));
    }

    #[test]
    fn the_whole_name_must_match() {
        assert!(!patterns("prod").matches("prod-net"));
        assert!(!patterns("net").matches("prod-net"));
    }

    #[test]
    fn case_matters() {
        assert!(!patterns("Prod").matches("prod"));
    }

    #[test]
    fn question_marks_and_classes() {
        assert!(patterns("net-?").matches("net-1"));
        assert!(!patterns("net-?").matches("net-12"));
        assert!(patterns("net-[a-c]").matches("net-b"));
        assert!(patterns("net-[!a-c]").matches("net-d"));
    }

    #[test]
    fn a_comma_inside_braces_separates_nothing() {
        let both = patterns("{prod,stage}-{net,{db,cache}}, test");
        assert!(both.matches("stage-cache"));
        assert!(both.matches("test"));
        assert!(!both.matches("stage-"));
    }

    #[test]
    fn an_alternative_may_be_empty() {
        assert!(patterns("prod{,-net}").matches("prod"));
    }

    #[test]
    fn spaces_round_a_glob_and_empty_globs_are_ignored() {
        let both = patterns(" prod-* ,, dev ,");
        assert!(both.matches("dev"));
        assert!(both.matches("prod-1"));
        assert!(patterns(" , ").is_empty());
    }

    #[test]
    fn a_glob_that_cannot_be_read_is_named() {
        let error = Patterns::comma_separated("ok, net-[").unwrap_err();
        assert_eq!(error.glob, "net-[");
        assert!(error.to_string().contains("`net-[`"), "{error}");
        assert!(Patterns::comma_separated("{a").is_err());
        assert!(Patterns::comma_separated("a}").is_err());
    }
}
