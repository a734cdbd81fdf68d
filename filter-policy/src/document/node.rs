//! A parsed text whose every value knows its line.
//!
//! Invariant: a node has no more depth and no more nodes than the parser's budget allows, so it may be walked recursively.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::Lines;

/// A value and the line that it begins on.
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) kind: Kind,
}

/// What a value is.
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// A key of a map with its value.
pub(super) struct Field {
    pub(super) line: u32,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// The fields, if this is a map.
    pub(super) fn fields(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// What people call this kind of value.
    pub(super) fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "fields",
        }
    }

    /// The node that `field` (as in [`Lines`]) names.
    pub(super) fn find(&self, field: &str) -> Option<&Node> {
        let mut node = self;
        for part in field.split(['.', '[']).filter(|part| !part.is_empty()) {
            node = match (&node.kind, part.strip_suffix(']')) {
                (Kind::List(list), Some(index)) => list.get(index.parse::<usize>().ok()?)?,
                (Kind::Map(fields), None) => &fields.iter().find(|field| field.key == part)?.value,
                _ => return None,
            };
        }
        Some(node)
    }

    /// The plain value; the lines go to `lines` under `path`.
    pub(super) fn into_value(self, path: &mut String, lines: &mut Lines) -> Value {
        if !path.is_empty() {
            lines.insert(path, self.line);
        }
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(value) => Value::Number(value),
            Kind::Text(value) => Value::String(value),
            Kind::List(list) => {
                let values = list.into_iter().enumerate();
                values
                    .map(|(index, node)| nested(path, &format!("[{index}]"), |path| node.into_value(path, lines)))
                    .collect()
            }
            Kind::Map(fields) => {
                let mut map = Map::new();
                for field in fields {
                    let part = if path.is_empty() { field.key.clone() } else { format!(".{}", field.key) };
                    let value = nested(path, &part, |path| {
                        let value = field.value.into_value(path, lines);
                        lines.insert(path, field.line);
                        value
                    });
                    map.insert(field.key, value);
                }
                Value::Object(map)
            }
        }
    }
}

fn nested<T>(path: &mut String, part: &str, inside: impl FnOnce(&mut String) -> T) -> T {
    let outside = path.len();
    path.push_str(part);
    let result = inside(path);
    path.truncate(outside);
    result
}

fn line_of<T>(spanned: &Spanned<T>) -> u32 {
    u32::try_from(spanned.referenced.line()).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Node { line: line_of(&spanned), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> de::Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Kind, E> {
        Number::from_i128(value).map(Kind::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Kind, E> {
        Number::from_u128(value).map(Kind::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value).map(Kind::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Kind::List(nodes))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            fields.push(Field { line: line_of(&key), key: key.value, value: map.next_value()? });
        }
        Ok(Kind::Map(fields))
    }
}
