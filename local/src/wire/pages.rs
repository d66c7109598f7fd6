//! The page tokens that were given.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::identity::Identities;
use crate::wire::error::ServiceError;
use crate::wire::json::text;

/// The tokens that a service gave, each for a question and the place where the next page starts.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The member of requests and responses that has a token.
    member: &'static str,
    /// The code of the error for a token that was given for another question.
    refused: &'static str,
    places: HashMap<String, (String, String)>,
    tokens: HashMap<(String, String), String>,
}

impl Pages {
    pub(crate) fn new(member: &'static str, refused: &'static str) -> Self {
        Self {
            member,
            refused,
            places: HashMap::new(),
            tokens: HashMap::new(),
        }
    }

    /// Returns the place where the page starts that a request asks for; `None` for the first page.
    pub(crate) fn start(
        &self,
        input: &Map<String, Value>,
        question: &str,
    ) -> Result<Option<String>, ServiceError> {
        let Some(token) = text(input, self.member) else {
            return Ok(None);
        };
        match self.places.get(token) {
            Some((asked, place)) if asked == question => Ok(Some(place.clone())),
            Some(_) | None => {
                let message = format!("The {} is not valid for this request.", self.member);
                Err(ServiceError::new(self.refused, message))
            }
        }
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
