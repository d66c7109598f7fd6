//! awsQuery: how requests are read, and how responses and errors are written as XML.

use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};

use crate::wire::error::ServiceError;
use crate::wire::operation::Service;
use crate::wire::response::of_service;

/// CloudFormation's namespace.
const NAMESPACE: &str = "http://cloudformation.amazonaws.com/doc/2010-05-15/";

/// CloudFormation's version, as each request names it.
pub(crate) const VERSION: &str = "2010-05-15";

/// The content type of a request.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the members of a form: texts, and lists of texts if a name ends in `.member.N`.
///
/// A member that is given twice counts the last time, as on AWS.
pub(crate) fn read(body: &[u8]) -> Map<String, Value> {
    let mut members = Map::new();
    let mut listed: Vec<(String, u32, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(body) {
        let element = name
            .split_once(".member.")
            .and_then(|(list, index)| Some((list.to_owned(), index.parse().ok()?)));
        match element {
            Some((list, index)) => listed.push((list, index, value.into_owned())),
            None => {
                members.insert(name.into_owned(), Value::from(value));
            }
        }
    }
    listed.sort();
    for (list, _, value) in listed {
        let list = members
            .entry(list)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(elements) = list {
            elements.push(Value::from(value));
        }
    }
    members
}

/// Returns the response of an operation. Without an output, `output` is null.
pub(crate) fn answer(operation: &str, output: &Value, request_id: &str) -> Response<Bytes> {
    let mut xml = format!("<{operation}Response xmlns=\"{NAMESPACE}\">");
    if !output.is_null() {
        write(&mut xml, &format!("{operation}Result"), output);
    }
    // Writing to a string cannot fail.
    let _ = write!(
        xml,
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    );
    of_service(Service::CloudFormation, 200, xml, request_id)
}

/// Returns an error in its wire form.
pub(crate) fn error(error: &ServiceError, request_id: &str) -> Response<Bytes> {
    let fault = if error.status < 500 {
        "Sender"
    } else {
        "Receiver"
    };
    let mut xml = format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{fault}</Type><Code>");
    escape(&mut xml, &error.code);
    xml.push_str("</Code><Message>");
    escape(&mut xml, &error.message);
    let _ = write!(
        xml,
        "</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    );
    of_service(Service::CloudFormation, error.status, xml, request_id)
}

/// Writes an element. Lists have their elements in `member`s.
fn write(xml: &mut String, name: &str, value: &Value) {
    let _ = write!(xml, "<{name}>");
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(xml, "{value}");
        }
        Value::String(text) => escape(xml, text),
        Value::Array(elements) => {
            for element in elements {
                write(xml, "member", element);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                write(xml, name, member);
            }
        }
    }
    let _ = write!(xml, "</{name}>");
}

/// Escapes a text. Most control characters become U+FFFD, because XML cannot have them.
fn escape(xml: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#xD;"),
            '\n' | '\t' => xml.push(character),
            '\u{fffe}' | '\u{ffff}' => xml.push('\u{fffd}'),
            character if character < ' ' => xml.push('\u{fffd}'),
            character => xml.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(response: Response<Bytes>) -> String {
        String::from_utf8(response.into_body().to_vec()).unwrap()
    }

    #[test]
    fn forms_are_read() {
        let form = b"Action=ListStacks&StackStatusFilter.member.2=b&StackStatusFilter.member.10=c&StackStatusFilter.member.1=a&&Name=a%20b+c%2F%zz%4&Empty=&Bare&%C3%BC=%ff";
        let expected = json!({
            "Action": "ListStacks",
            "StackStatusFilter": ["a", "b", "c"],
            "Name": "a b c/%zz%4",
            "Empty": "",
            "Bare": "",
            "ü": "\u{fffd}",
        });
        assert_eq!(Value::Object(read(form)), expected);
        assert!(read(b"").is_empty());
    }

    #[test]
    fn answers_are_written() {
        let output = json!({ "A": [{ "B": "<&>" }, {}], "C": [], "D": true, "E": "x\u{1}\r" });
        assert_eq!(
            text(answer("Do", &output, "1")),
            "<DoResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DoResult><A><member><B>&lt;&amp;&gt;</B></member><member></member></A><C></C><D>true</D><E>x\u{fffd}&#xD;</E></DoResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DoResponse>"
        );
        assert_eq!(
            text(answer("Do", &Value::Null, "1")),
            "<DoResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DoResponse>"
        );
    }

    #[test]
    fn an_error_says_whose_fault_it_is() {
        for (status, fault) in [(400, "Sender"), (403, "Sender"), (500, "Receiver")] {
            let response = error(&ServiceError::new("X", "no").status(status), "1");
            assert_eq!(response.status(), status);
            assert_eq!(
                text(response),
                format!(
                    "<ErrorResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><Error><Type>{fault}</Type><Code>X</Code><Message>no</Message></Error><RequestId>1</RequestId></ErrorResponse>"
                )
            );
        }
    }
}
