//! Scalars by the rules of `Psych::ScalarScanner` and `Psych::Visitors::ToRuby`.
//!
//! These differ from YAML 1.1: `y` and `n` are text, `1e3` and `08` are text, `1,000` is a thousand, and `1:30` is
//! 5400.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Ruby's value of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'t> {
    /// `nil`.
    Null,
    /// `true` or `false`, in any of the words of YAML 1.1.
    Bool(bool),
    /// An integer of at most 128 bits.
    Int(i128),
    /// An integer of more than 128 bits.
    BigInt,
    /// A floating point number, the infinities and NaN included.
    Float(f64),
    /// A string.
    Text(Cow<'t, str>),
    /// Text that is not UTF-8.
    Binary(Vec<u8>),
    /// A symbol, without its colon.
    Symbol(Cow<'t, str>),
    /// A date.
    Date,
    /// A time.
    Time,
    /// An object of a Ruby class.
    Object,
}

const BINARY: [&str; 2] = ["!binary", "tag:yaml.org,2002:binary"];
const FLOAT: [&str; 2] = ["!float", "tag:yaml.org,2002:float"];
/// Classes that Psych creates from a scalar, after `!ruby/`. For other classes it returns the scalar.
const OBJECTS: [&str; 9] = [
    "object:BigDecimal",
    "object:DateTime",
    "object:Complex",
    "object:Rational",
    "encoding",
    "class",
    "module",
    "regexp",
    "range",
];
impl Scalar<'_> {
    /// As the name of a key.
    pub(super) fn name(&self) -> Option<String> {
        Some(match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format!("{value:?}").replace("inf", "Infinity"),
            Self::Text(text) => text.clone().into_owned(),
            Self::Symbol(text) => format!(":{text}"),
            Self::Binary(octets) => String::from_utf8_lossy(octets).into_owned(),
            Self::BigInt | Self::Date | Self::Time | Self::Object => return None,
        })
    }
}

/// The tag of text.
pub(super) const STR: &str = "tag:yaml.org,2002:str";

/// Interprets a scalar with its tag; a `quoted` one without a tag is text.
pub(super) fn read<'t>(text: &'t str, tag: Option<&str>, quoted: bool) -> Scalar<'t> {
    let Some(tag) = tag else { return if quoted { Scalar::Text(text.into()) } else { tokenize(text) } };
    if BINARY.contains(&tag) {
        return binary(text);
    }
    if is_str(tag) {
        return Scalar::Text(text.into());
    }
    if FLOAT.contains(&tag) {
        return match tokenize(text) {
            Scalar::Int(number) => Scalar::Float(number as f64),
            Scalar::Text(text) => text.replace('_', "").parse().map_or(Scalar::Object, Scalar::Float),
            other => other,
        };
    }
    match tag.strip_prefix("!ruby/") {
        Some(class) if class.starts_with("sym") => Scalar::Symbol(text.into()),
        Some(class) if OBJECTS.contains(&class) => Scalar::Object,
        _ => tokenize(text),
    }
}

/// Whether a tag makes any scalar text.
pub(super) fn is_str(tag: &str) -> bool {
    let is_of = |prefix: &str| tag.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    tag == STR || is_of("!str") || is_of("!ruby/string")
}

/// `String#unpack("m")`: characters that are not base64 are skipped. The result is text where it is UTF-8, because Ruby
/// compares such strings by their octets.
fn binary(text: &str) -> Scalar<'_> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let digits: Vec<u8> = text
        .bytes()
        .take_while(|octet| *octet != b'=')
        .filter(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/'))
        .collect();
    // A single remaining digit contains no octet.
    let whole = if digits.len() % 4 == 1 { &digits[..digits.len() - 1] } else { &digits };
    let octets = GeneralPurpose::new(&STANDARD, config).decode(whole).unwrap_or_default();
    match String::from_utf8(octets) {
        Ok(text) => Scalar::Text(text.into()),
        Err(error) => Scalar::Binary(error.into_bytes()),
    }
}

fn tokenize(text: &str) -> Scalar<'_> {
    if text.is_empty() {
        return Scalar::Null;
    }
    if looks_like_text(text) || text.contains('\n') {
        return word(text).unwrap_or(Scalar::Text(text.into()));
    }
    if is_time(text) {
        return Scalar::Time;
    }
    if is_date(text) {
        return Scalar::Date;
    }
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        ".inf" | "+.inf" => return Scalar::Float(f64::INFINITY),
        "-.inf" => return Scalar::Float(f64::NEG_INFINITY),
        ".nan" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    if let Some(name) = text.strip_prefix(':').filter(|name| !name.is_empty()) {
        let quoted = ['"', '\''].iter().find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote));
        return Scalar::Symbol(quoted.unwrap_or(name).into());
    }
    sexagesimal(text).or_else(|| float(text)).or_else(|| integer(text)).unwrap_or(Scalar::Text(text.into()))
}

/// `^[^\d.:-]?[[:alpha:]_\s!@#$%\^&*(){}<>|/\\~;=]+`
fn looks_like_text(text: &str) -> bool {
    let is_wordy = |c: char| c.is_alphabetic() || c.is_ascii_whitespace() || "_!@#$%^&*(){}<>|/\\~;=\u{b}".contains(c);
    let mut characters = text.chars();
    let first = characters.next();
    first.is_some_and(is_wordy)
        || (first.is_some_and(|c| !c.is_ascii_digit() && !".:-".contains(c)) && characters.next().is_some_and(is_wordy))
}

/// Words with a special meaning. None is longer than five letters.
fn word(text: &str) -> Option<Scalar<'static>> {
    if text.len() > 5 {
        return None;
    }
    Some(match text.to_ascii_lowercase().as_str() {
        "~" | "null" => Scalar::Null,
        "yes" | "true" | "on" => Scalar::Bool(true),
        "no" | "false" | "off" => Scalar::Bool(false),
        _ => return None,
    })
}

/// Takes as many digits as possible, at least `least` and at most `most`.
fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(count);
    (count >= least).then(|| Some((digits.parse().ok()?, rest)))?
}

/// Year, month, day, and the rest of the text.
fn date(text: &str) -> Option<(u32, u32, u32, &str)> {
    let (year, rest) = digits(text, 4, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    Some((year, month, day, rest))
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_date(text: &str) -> bool {
    date(text).is_some_and(|(year, month, day, rest)| {
        rest.is_empty() && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day)
    })
}

/// `YYYY-M-D`, then `T` or blanks, then `H:MM:SS`, a fraction, and a zone.
fn is_time(text: &str) -> bool {
    let moment = || {
        let (_, month, day, rest) = date(text.strip_prefix('-').unwrap_or(text))?;
        let blank = rest.trim_start_matches([' ', '\t']);
        let rest = if blank.len() < rest.len() { blank } else { rest.strip_prefix(['T', 't'])? };
        let (hour, rest) = digits(rest, 1, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
        let (second, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
        let rest = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour <= 24 && minute < 60 && second <= 60;
        Some(fits && is_zone(rest.trim_start_matches([' ', '\t'])))
    };
    moment().unwrap_or(false)
}

/// `(?:Z|[-+]\d{1,2}:?(?:\d\d)?)?`
fn is_zone(text: &str) -> bool {
    if text.is_empty() || text == "Z" {
        return true;
    }
    let Some((_, rest)) = text.strip_prefix(['-', '+']).and_then(|rest| digits(rest, 1, 2)) else { return false };
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    rest.is_empty() || digits(rest, 2, 2).is_some_and(|(_, rest)| rest.is_empty())
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}`, with a fraction or without.
fn sexagesimal(text: &str) -> Option<Scalar<'static>> {
    let (is_negative, rest) = unsigned(text);
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let parts: Vec<&str> = whole.split(':').collect();
    let is_number = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit()) && part.bytes().all(|c| c.is_ascii_digit() || c == b'_')
    };
    let is_sixtieth = |part: &&str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    let fits = (2..=3).contains(&parts.len()) && is_number(parts[0]) && parts[1..].iter().all(is_sixtieth);
    if !fits || fraction.is_some_and(|fraction| !fraction.bytes().all(|c| c.is_ascii_digit() || c == b'_')) {
        return None;
    }
    // The powers count from the front, even when there are only two parts.
    let mut sum: i128 = 0;
    let mut power = 3600;
    for part in &parts {
        let number: i128 = part.replace('_', "").parse().ok()?;
        sum = sum.checked_add(if is_negative && power == 3600 { -number } else { number }.checked_mul(power)?)?;
        power /= 60;
    }
    let Some(fraction) = fraction else { return Some(Scalar::Int(sum)) };
    let fraction: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
    Some(Scalar::Float(sum as f64 + fraction * (power * 60) as f64))
}

/// `[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][-+][0-9]+)?`
fn float(text: &str) -> Option<Scalar<'static>> {
    let (is_negative, rest) = unsigned(text);
    let (whole, rest) = rest.split_once('.')?;
    let is_whole = whole.is_empty()
        || (whole.starts_with(|c: char| c.is_ascii_digit())
            && whole.bytes().all(|c| c.is_ascii_digit() || b"_,".contains(&c)));
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let is_exponent = |exponent: &str| {
        let digits = exponent.strip_prefix(['-', '+']);
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()))
    };
    let fits = is_whole && fraction.bytes().all(|c| c.is_ascii_digit()) && exponent.is_none_or(is_exponent);
    if !fits || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = whole.replace(['_', ','], "");
    let number = format!("{whole}.{fraction}0{}", exponent.map(|exponent| format!("e{exponent}")).unwrap_or_default());
    let number: f64 = number.parse().ok()?;
    Some(Scalar::Float(if is_negative { -number } else { number }))
}

fn integer(text: &str) -> Option<Scalar<'static>> {
    let (is_negative, rest) = unsigned(text);
    let of = |digits: &str, radix: u32| {
        let is_digit = |c: char| c.is_digit(radix) || c == '_' || c == ',';
        (!digits.is_empty() && digits.chars().all(is_digit))
            .then(|| number(&digits.replace(['_', ','], ""), radix, is_negative))
    };
    let other = [("0b", 2), ("0x", 16), ("0", 8)];
    if let Some(found) = other.iter().find_map(|(prefix, radix)| of(rest.strip_prefix(prefix)?, *radix)) {
        return found;
    }
    // `0`, or digits in which each `_` and `,` is between two digits.
    let is_decimal = rest == "0"
        || (rest.starts_with(|c: char| ('1'..='9').contains(&c))
            && rest.split(['_', ',']).all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit())));
    if is_decimal { number(&rest.replace(['_', ','], ""), 10, is_negative) } else { None }
}

fn number(digits: &str, radix: u32, is_negative: bool) -> Option<Scalar<'static>> {
    // `0_` is zero. `0b_` is an error in Ruby, and so not a number.
    if digits.is_empty() {
        return (radix == 8).then_some(Scalar::Int(0));
    }
    Some(
        i128::from_str_radix(digits, radix)
            .map_or(Scalar::BigInt, |number| Scalar::Int(if is_negative { -number } else { number })),
    )
}
