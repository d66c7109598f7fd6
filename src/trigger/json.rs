//! Readers for JSON from outside: strict for members that decide, lenient for members that only inform.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{UnsupportedPayload, unsupported};
use crate::timestamp::{self, Timestamp};

/// A type that is read from a JSON object only. A derived struct also accepts an array.
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

/// Reads JSON as an object of this type. `what` names the JSON in the error.
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

/// Reads a text that informs and does not decide. A value of another type counts as absent. Half a
/// character (a lone surrogate, which JSON can have) is replaced.
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

/// Reads a value that may be absent but not `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a value that may be `null` but not absent.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads a time, if there is one. `what` names the time in the error.
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
