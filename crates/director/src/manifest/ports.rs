//! The value of `expose_ports`, in any shape.

use boshy_mesh::{Written, WrittenPort, WrittenPortEntry, WrittenPorts};

use boshy_yaml::{Scalar, Shape, View};

pub(super) fn written(view: View<'_>) -> WrittenPorts {
    match view.shape() {
        Shape::Scalar(Scalar::Null) => WrittenPorts::Absent,
        Shape::List(list) => WrittenPorts::List(list.items().map(entry).collect()),
        shape => WrittenPorts::Other(kind(&shape)),
    }
}

fn entry(view: View<'_>) -> WrittenPortEntry {
    let Shape::Map(map) = view.shape() else { return WrittenPortEntry::Other(kind(&view.shape())) };
    let mut port = WrittenPort::default();
    for (key, pair) in map.entries() {
        match key.as_str() {
            "name" => port.name = scalar(pair.value),
            "number" => port.number = scalar(pair.value),
            "protocol" => port.protocol = scalar(pair.value),
            "ingress" => port.ingress = scalar(pair.value),
            "ingress_fallback" => port.ingress_fallback = scalar(pair.value),
            "original_src" => port.original_src = scalar(pair.value),
            _ => port.unknown.push(key),
        }
    }
    WrittenPortEntry::Port(port)
}

fn scalar(view: View<'_>) -> Written {
    match view.shape() {
        Shape::Scalar(Scalar::Null) => Written::Absent,
        Shape::Scalar(Scalar::Text(text)) => view.owned(text).map_or(Written::Absent, Written::Text),
        Shape::Scalar(Scalar::Int(number)) => {
            i64::try_from(number).map_or(Written::Other("a number beyond 64 bits"), Written::Integer)
        }
        Shape::Scalar(Scalar::Bool(value)) => Written::Boolean(value),
        shape => Written::Other(kind(&shape)),
    }
}

fn kind(shape: &Shape<'_>) -> &'static str {
    match shape {
        Shape::List(_) => "a list",
        Shape::Map(_) => "a map",
        Shape::Object | Shape::Scalar(Scalar::Object) => "an object of Ruby",
        Shape::Scalar(Scalar::Null) => "null",
        Shape::Scalar(Scalar::Bool(_)) => "a boolean",
        Shape::Scalar(Scalar::Int(_)) => "a number",
        Shape::Scalar(Scalar::BigInt) => "a number beyond 64 bits",
        Shape::Scalar(Scalar::Float(_)) => "a float",
        Shape::Scalar(Scalar::Text(_)) => "text",
        Shape::Scalar(Scalar::Binary(_)) => "binary data",
        Shape::Scalar(Scalar::Symbol(_)) => "a symbol of Ruby",
        Shape::Scalar(Scalar::Date) => "a date",
        Shape::Scalar(Scalar::Time) => "a time",
    }
}
