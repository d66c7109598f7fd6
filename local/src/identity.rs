//! IDs that replay from a seed.

/// A source of IDs and tokens.
#[derive(Debug)]
pub(crate) struct Identities(fastrand::Rng);

impl Identities {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns a UUID of version 4.
    pub(crate) fn uuid(&mut self) -> String {
        let random = self.0.u128(..).to_be_bytes();
        let id = uuid::Builder::from_random_bytes(random).into_uuid();
        id.to_string()
    }

    /// Returns an opaque token of letters and digits.
    pub(crate) fn token(&mut self) -> String {
        std::iter::repeat_with(|| self.0.alphanumeric())
            .take(48)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_of_version_4_and_replay() {
        let uuid = Identities::new(7).uuid();
        assert_eq!(uuid, Identities::new(7).uuid());
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!(["8", "9", "a", "b"].contains(&&uuid[19..20]));
        assert_ne!(uuid, Identities::new(8).uuid());
    }
}
