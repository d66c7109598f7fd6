//! Reading JSON that somebody else wrote: strict where it decides, tolerant where it only informs.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{UnsupportedPayload, unsupported};
use crate::timestamp::{self, Timestamp};

/// Something that is a JSON object, and no array: a derived struct would take either.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// Reads JSON as an object of that type; `what` names it in the error.
pub(super) fn typed<'a, T: Deserialize<'a>>(
    what: &str,
    json: &'a str,
) -> Result<T, UnsupportedPayload> {
    match serde_json::from_str(json) {
        Ok(Object(value)) => Ok(value),
        Err(error) if error.is_data() => {
            Err(unsupported(format!("{what} cannot be read ({error})")))
        }
        Err(error) => Err(unsupported(format!("{what} is not JSON ({error})"))),
    }
}

/// A text that tells something and decides nothing: one of another type is as good as none, and
/// half a character (a lone surrogate, which JSON can write) is replaced.
pub(super) fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Text(String);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Bytes;

            impl Visitor<'_> for Bytes {
                type Value = Text;

                fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    formatter.write_str("a text")
                }

                fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                    Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
                }
            }

            deserializer.deserialize_bytes(Bytes)
        }
    }

    let value = Option::<Box<RawValue>>::deserialize(deserializer)?;
    let text = value.and_then(|value| serde_json::from_str(value.get()).ok());
    Ok(text.map(|Text(text)| text))
}

/// A value that may be left out but not `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A value that may be `null` but not left out.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads a time, if there is one; `what` names it in the error.
pub(super) fn time_of(
    what: &str,
    text: Option<String>,
) -> Result<Option<Timestamp>, UnsupportedPayload> {
    text.map(|text| {
        timestamp::parse(&text).ok_or_else(|| {
            let text = crate::text::cut(&text, 100);
            unsupported(format!(
                "invalid {what} `{text}`: must be RFC 3339, such as 2026-11-23T06:45:12Z"
            ))
        })
    })
    .transpose()
}
