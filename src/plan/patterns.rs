//! Globs over names: what `ENVIRONMENTS`, `PROTECTED_ENVIRONMENTS`, `IGNORED_ALARMS` and an
//! environment's tag hold.
//!
//! globset matches bytes. In a name that is not ASCII, which only an alarm can have, `?` and classes match
//! one byte of a character. Use `*` there.

use globset::{Glob, GlobBuilder, GlobSet};

/// A set of globs. A name matches if one of the globs does.
///
/// `*` matches any characters, `/` included; `?` one character; `[..]` one of a class; `{a,b}` either.
#[derive(Clone, Debug)]
pub struct Patterns(Names);

/// The names that match.
#[derive(Clone, Debug)]
enum Names {
    /// All names, the default of the settings. Needs no matcher, so a start is faster.
    All,
    Of(GlobSet),
}

/// A glob that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the glob `{glob}` cannot be read: {why}")]
pub struct BadGlob {
    /// The glob, as given.
    pub(crate) glob: String,
    /// The reason.
    pub(crate) why: String,
}

impl Patterns {
    /// Reads globs separated by commas. A comma inside braces does not separate globs. Spaces around globs
    /// and empty globs are ignored.
    pub fn comma_separated(text: &str) -> Result<Self, BadGlob> {
        Self::from_globs(split_outside_braces(text))
    }

    /// Reads globs separated by white space. Returns the globs that cannot be read separately: they match
    /// no name.
    #[must_use]
    pub(crate) fn space_separated(text: &str) -> (Self, Vec<BadGlob>) {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for glob in text.split_whitespace() {
            match Self::from_globs([glob]) {
                Ok(_) => good.push(glob),
                Err(unreadable) => bad.push(unreadable),
            }
        }
        match Self::from_globs(good) {
            Ok(patterns) => (patterns, bad),
            Err(too_many) => (Self::none(), vec![too_many]),
        }
    }

    fn from_globs<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, BadGlob> {
        let globs: Vec<_> = globs.into_iter().collect();
        match globs.as_slice() {
            [] => return Ok(Self::none()),
            ["*"] => return Ok(Self(Names::All)),
            _ => {}
        }
        let read: Result<Vec<_>, _> = globs.iter().copied().map(glob).collect();
        let read = read?;
        GlobSet::new(&read)
            .map(|set| Self(Names::Of(set)))
            .map_err(|error| {
                // A valid glob may be too complex for the matcher, whose error does not name the glob.
                let alone = read.iter().find(|one| GlobSet::new([*one]).is_err());
                BadGlob {
                    glob: alone.map_or_else(String::new, |one| one.glob().to_owned()),
                    why: match alone {
                        Some(_) => "its braces are nested too deeply".to_owned(),
                        None => error.kind().to_string(),
                    },
                }
            })
    }

    /// Returns a set without globs, which matches no name.
    #[must_use]
    pub fn none() -> Self {
        Self(Names::Of(GlobSet::empty()))
    }

    /// True if one of the globs matches the whole name.
    #[must_use]
    pub(crate) fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Names::All => true,
            Names::Of(globs) => globs.is_match(name),
        }
    }

    /// True if there is no glob, so that no name matches.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.0, Names::Of(globs) if globs.is_empty())
    }
}

fn glob(text: &str) -> Result<Glob, BadGlob> {
    GlobBuilder::new(text)
        .empty_alternates(true)
        .build()
        .map_err(|error| BadGlob {
            glob: text.to_owned(),
            why: error.kind().to_string(),
        })
}

/// The progress in a class, `[..]`. A `]` that comes first is one of the class's characters.
#[derive(Clone, Copy)]
enum Class {
    Opened,
    Negated,
    Filled,
}

/// Splits a text at the commas outside braces and classes. Returns the parts trimmed, without empty ones.
fn split_outside_braces(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let mut escaped = false;
    let mut class = None;
    text.split(move |character| {
        if let Some(so_far) = class {
            class = match (so_far, character) {
                (Class::Opened, '!' | '^') => Some(Class::Negated),
                (Class::Filled, ']') => None,
                _ => Some(Class::Filled),
            };
            return false;
        }
        let separates = !escaped && depth == 0 && character == ',';
        match character {
            '[' if !escaped => class = Some(Class::Opened),
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

    /// Returns a glob with braces, and all the names that it matches.
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
            match Patterns::comma_separated(&text) {
                Ok(patterns) => prop_assert!(!(patterns.is_empty() && patterns.matches(&name))),
                Err(bad) => prop_assert!(text.contains(&bad.glob), "{bad}"),
            }
            let (patterns, bad) = Patterns::space_separated(&text);
            prop_assert!(!(patterns.is_empty() && patterns.matches(&name)));
            prop_assert_eq!(patterns.is_empty(), bad.len() == text.split_whitespace().count());
            prop_assert!(bad.iter().all(|bad| text.contains(&bad.glob)), "{bad:?}");
        }

        #[test]
        fn a_name_matches_itself_and_no_more(name in any::<String>()) {
            let escaped: String = name.chars().flat_map(|character| ['\\', character]).collect();
            if !name.is_empty() {
                let read = Patterns::from_globs([escaped.as_str()]).unwrap();
                prop_assert!(read.matches(&name), "{escaped}");
                prop_assert!(!read.matches(&format!("{name}ä")), "{escaped}");
            }
        }

        #[test]
        fn an_ascii_name_matches_a_mark_and_a_class_for_each_character(name in "[ -~]{1,12}") {
            let marks = "?".repeat(name.len());
            let read = Patterns::from_globs([marks.as_str()]).unwrap();
            prop_assert!(read.matches(&name) && !read.matches(&format!("{name}x")), "{marks}");
            let class: String = name.chars().filter(|each| !"]!^-".contains(*each)).collect();
            if !class.is_empty() {
                let read = Patterns::from_globs([format!("[{class}]").as_str()]).unwrap();
                for character in class.chars() {
                    prop_assert!(read.matches(&character.to_string()), "{character:?} {class}");
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
        let too_deep = format!("{}a{}", "{b,".repeat(400), "}".repeat(400));
        let bad = Patterns::comma_separated(&format!("ok, {too_deep}")).unwrap_err();
        assert_eq!(bad.glob, too_deep);
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
    fn a_name_that_is_not_ascii_matches_by_text_stars_and_braces() {
        for glob in ["zahlung-ä", "zahlung-*", "zahlung-{ü,ä}", "*ä", "*-{x,*}"] {
            assert!(patterns(glob).matches("zahlung-ä"), "{glob}");
        }
        assert!(!patterns("zahlung-ü").matches("zahlung-ä"));
        assert!(patterns("支*").matches("支払\n"));
        assert!(
            !patterns("zahlung-?").matches("zahlung-ä"),
            "a byte is no character"
        );
        assert!(
            patterns("zahlung-??").matches("zahlung-ä"),
            "it has two bytes"
        );
    }

    #[test]
    fn one_glob_that_cannot_be_read_leaves_the_others() {
        let (read, bad) = Patterns::space_separated("net-[ prod-* {x");
        assert!(read.matches("prod-1") && !read.matches("net-["));
        let bad: Vec<_> = bad.iter().map(|bad| bad.glob.as_str()).collect();
        assert_eq!(bad, ["net-[", "{x"]);
    }

    #[test]
    fn a_comma_inside_braces_separates_nothing() {
        let both = patterns("{prod,stage}-{net,{db,cache}}, test");
        assert!(both.matches("stage-cache"));
        assert!(both.matches("test"));
        assert!(!both.matches("stage-"));
    }

    #[test]
    fn an_escaped_character_is_literal() {
        let both = patterns(r"\{a,b");
        assert!(both.matches("{a") && both.matches("b"));
        let either = patterns(r"{a\},b}-net");
        assert!(either.matches("a}-net") && either.matches("b-net"));
        assert!(patterns(r"a\,b").matches("a,b"));
        // An escaped backslash does not escape the next character.
        let both = patterns(r"a\\,b");
        assert!(both.matches(r"a\") && both.matches("b"));
    }

    #[test]
    fn the_default_glob_needs_no_matcher() {
        assert!(matches!(patterns("*").0, Names::All));
        assert!(matches!(patterns("*, prod").0, Names::Of(_)));
        assert!(patterns("*, prod").matches("net"));
    }

    #[test]
    fn an_alternative_may_be_empty() {
        assert!(patterns("prod{,-net}").matches("prod"));
    }

    #[test]
    fn spaces_around_a_glob_and_empty_globs_are_ignored() {
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

    #[test]
    fn braces_and_commas_in_a_class_are_literal() {
        for class in [
            "[{]", "[,]", "[a,b]", "[!,]", "[],]", "[^],{]", "[!!]", "[^!,]", r"[\\]", r"\[",
        ] {
            let patterns = Patterns::comma_separated(&format!("a{class},prod")).unwrap();
            assert!(patterns.matches("prod"), "{class}");
        }
        let names = Patterns::comma_separated("net-[a,b],[!c]").unwrap();
        assert!(names.matches("net-b") && names.matches("d") && !names.matches("c"));
        assert!(Patterns::comma_separated("net-[a,prod").is_err());
    }
}
