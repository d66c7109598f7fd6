//! The page tokens that were given.

use std::collections::HashMap;

use crate::identity::Identities;

/// The tokens that were given, each for a question and the place where the next page starts.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    places: HashMap<String, (String, String)>,
    tokens: HashMap<(String, String), String>,
}

impl Pages {
    /// Returns the place of a token, if the token was given for this question.
    pub(crate) fn place(&self, token: &str, question: &str) -> Option<&str> {
        let (asked, place) = self.places.get(token)?;
        (asked == question).then_some(place)
    }

    /// Returns the token of a place. The same place has the same token each time.
    pub(crate) fn token(
        &mut self,
        question: String,
        place: String,
        identities: &mut Identities,
    ) -> String {
        let place = (question, place);
        if let Some(token) = self.tokens.get(&place) {
            return token.clone();
        }
        let token = identities.token();
        self.places.insert(token.clone(), place.clone());
        self.tokens.insert(place, token.clone());
        token
    }
}
