//! Reading a request's body: bounded in size and time, JSON that says one thing only.

use super::fault::Fault;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::{Map, Number, Value};
use std::fmt;
use std::time::Duration;

/// Longest body, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lists and objects inside each other, at most.
const MAX_DEPTH: usize = 16;

/// The JSON object that a request brings.
pub(super) async fn object(request: Request) -> Result<Value, Fault> {
    let (parts, body) = request.into_parts();
    is_json(&parts.headers)?;
    let bytes = bytes(body).await?;
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match value {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Fault::schema("the body is no JSON object")),
        Err(error) => Err(Fault::schema(format_args!("the body is no JSON: {error}"))),
    }
}

/// What an object means as one of the API's types.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner().to_string());
        // What was found may be a secret; what was expected is none.
        let what = match inner.rsplit_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None => inner,
        };
        if path == "." { Fault::schema(what) } else { Fault::schema(format_args!("{path}: {what}")) }
    })
}

fn is_json(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().ok().and_then(|kind| kind.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")),
    }
}

async fn bytes(body: Body) -> Result<Vec<u8>, Fault> {
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BYTES).collect()).await;
    match collected {
        Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come")),
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is longer than {} MiB", MAX_BYTES >> 20);
            Err(Fault::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(_)) => Err(Fault::schema("the body is cut short")),
    }
}

/// Any value in which no object has a key twice, and nothing is too deep.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<usize, E> {
        self.depth.checked_sub(1).ok_or_else(|| E::custom(format_args!("more than {MAX_DEPTH} levels deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Strict { depth })? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                let shown: String = key.escape_debug().take(80).collect();
                return Err(A::Error::custom(format_args!("\"{shown}\" is there twice")));
            }
            object.insert(key, fields.next_value_seed(Strict { depth })?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = Strict { depth: MAX_DEPTH }.deserialize(&mut json);
        value.and_then(|value| json.end().map(|()| value)).map_err(|error| error.to_string())
    }

    #[test]
    fn says_one_thing_only() {
        assert!(read(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
        assert!(read(r#"{"a":1,"a":1}"#).unwrap_err().contains("\"a\" is there twice"));
        assert!(read(r#"{"x":{"a":1,"a":1}}"#).unwrap_err().contains("twice"));
        assert!(read(r#"{"a":1} {"a":1}"#).is_err());
    }

    #[test]
    fn is_bounded_in_depth() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(read(&nested(MAX_DEPTH + 1)).unwrap_err().contains("levels deep"));
        assert!(read(&nested(100_000)).is_err());
    }
}
