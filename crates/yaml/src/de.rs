//! A serde deserializer for views. A shape that does not fit the type is an error at its line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{StringDeserializer, U32Deserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    YamlError,
    scalar::Scalar,
    view::{Pair, Shape, View},
};

/// A value, and where it is written. Line and column count from 1; they are those of the alias for a value that an alias
/// repeats. It is read from YAML only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename = "$boshy_yaml::Positioned")]
pub struct Positioned<T> {
    /// Its line.
    pub line: u32,
    /// Its column.
    pub column: u32,
    /// The value.
    pub value: T,
}

/// The name under which a [`Positioned`] asks for its three fields. No other type has it.
const POSITIONED: &str = "$boshy_yaml::Positioned";
/// Maximum nesting of a type, by itself or by aliases.
const MAX_DEPTH: usize = 200;

impl de::Error for YamlError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        super::error::refused(0, 0, message.to_string())
    }
}

impl<'d> View<'d> {
    /// Adds this place to an error that has none yet.
    fn at_least_here<T>(self, result: Result<T, YamlError>) -> Result<T, YamlError> {
        result.map_err(|error| match error {
            YamlError::Refused { line: 0, reason, .. } => self.refused(reason),
            other => other,
        })
    }
}

/// A view and its depth.
#[derive(Clone, Copy)]
struct Nested<'d>(View<'d>, usize);

impl<'d> Nested<'d> {
    fn inner(self, view: View<'d>) -> Result<Self, YamlError> {
        if self.1 >= MAX_DEPTH {
            return Err(view.refused(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self(view, self.1 + 1))
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let no_class = |class: &str| self.0.refused(format!("Tried to load unspecified class: {class}"));
        match self.0.shape() {
            Shape::Scalar(Scalar::Null) => visitor.visit_unit(),
            Shape::Scalar(Scalar::Bool(value)) => visitor.visit_bool(value),
            Shape::Scalar(Scalar::Int(value)) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_f64(value as f64),
            },
            Shape::Scalar(Scalar::Float(value)) => visitor.visit_f64(value),
            Shape::Scalar(scalar @ (Scalar::Text(_) | Scalar::Symbol(_) | Scalar::Binary(_))) => {
                let name = scalar.name().and_then(|name| self.0.owned(name.into()));
                visitor.visit_string(name.unwrap_or_default())
            }
            Shape::Scalar(Scalar::BigInt) => Err(self.0.refused("a number beyond 128 bits")),
            Shape::Scalar(Scalar::Date) => Err(no_class("Date")),
            Shape::Scalar(Scalar::Time) => Err(no_class("Time")),
            Shape::Scalar(Scalar::Object) | Shape::Object => Err(no_class("Object")),
            Shape::List(list) => visitor.visit_seq(Items { items: list.items(), list: self }),
            Shape::Map(map) => {
                visitor.visit_map(Entries { entries: map.entries().into_iter(), value: None, map: self })
            }
        }
    }
}

impl<'de> Deserializer<'de> for View<'_> {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        Nested(self, 0).deserialize_any(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        Nested(self, 0).deserialize_option(visitor)
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_unit()
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier
    }
}

impl<'de> Deserializer<'de> for Nested<'_> {
    type Error = YamlError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        self.0.at_least_here(self.any(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.0.shape() {
            Shape::Scalar(Scalar::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// A value such as `version: 1.0` is returned as written.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let is_plain = matches!(
            self.0.shape(),
            Shape::Scalar(
                Scalar::Bool(_) | Scalar::Int(_) | Scalar::BigInt | Scalar::Float(_) | Scalar::Date | Scalar::Time
            )
        );
        match self.0.written().filter(|_| is_plain) {
            Some(written) => self.0.at_least_here(visitor.visit_string(written)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let text = self.0.text().ok_or_else(|| self.0.refused("must be text"))?;
        self.0.at_least_here(visitor.visit_enum(text.into_deserializer()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        match name {
            POSITIONED => visitor.visit_seq(PositionAndValue { of: self, given: 0 }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier
    }
}

/// The fields of a [`Positioned`], in order.
struct PositionAndValue<'d> {
    of: Nested<'d>,
    given: u8,
}

impl<'de> SeqAccess<'de> for PositionAndValue<'_> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        let (line, column) = self.of.0.position();
        let number = |number: u32| -> U32Deserializer<YamlError> { number.into_deserializer() };
        self.given += 1;
        match self.given {
            1 => seed.deserialize(number(line)).map(Some),
            2 => seed.deserialize(number(column)).map(Some),
            3 => seed.deserialize(self.of).map(Some),
            _ => Ok(None),
        }
    }
}

struct Items<'d, I> {
    items: I,
    list: Nested<'d>,
}

impl<'de, 'd, I: Iterator<Item = View<'d>>> SeqAccess<'de> for Items<'d, I> {
    type Error = YamlError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, YamlError> {
        self.items.next().map(|item| seed.deserialize(self.list.inner(item)?)).transpose()
    }
}

struct Entries<'d> {
    entries: std::vec::IntoIter<(String, Pair<'d>)>,
    value: Option<View<'d>>,
    map: Nested<'d>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = YamlError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, YamlError> {
        let Some((name, pair)) = self.entries.next() else { return Ok(None) };
        self.value = Some(pair.value);
        let key: StringDeserializer<YamlError> = name.into_deserializer();
        pair.key.at_least_here(seed.deserialize(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, YamlError> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value without its key"))?;
        seed.deserialize(self.map.inner(value)?)
    }
}
