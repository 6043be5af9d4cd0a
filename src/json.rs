//! Reads JSON: one pass finds out whether a text is JSON and where its values are, which are then looked up where they
//! stand. A parser with a type for everything, as `serde_json` generates, would be a sixth of the Worker.

use std::borrow::Cow;
use std::str;

/// What is nested deeper is refused: nothing of ours is.
const MAX_DEPTH: u32 = 32;

/// A text that is JSON (RFC 8259).
#[derive(Clone, Debug)]
pub struct Document<'a>(Vec<Token<'a>>);

/// A value of such a text, and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a [Token<'a>]);

/// Where a value stands, before those that are in it; in an object, names are values too.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    /// From its start to its end.
    text: &'a [u8],
    /// How many values it is, with those in it.
    count: usize,
}

/// What can be read from JSON; `None` for JSON that says something else.
pub trait FromJson: Sized {
    /// What a value says.
    fn from_json(json: Json<'_>) -> Option<Self>;
}

/// Reads all of a text.
pub fn from_str<T: FromJson>(text: &str) -> Option<T> {
    T::from_json(Document::parse(text.as_bytes())?.root())
}

impl<'a> Document<'a> {
    /// A value with nothing but white space around it.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        str::from_utf8(text).ok()?;
        let mut tokens = Vec::new();
        let rest = value(text, MAX_DEPTH, &mut tokens)?;
        skip_space(rest).is_empty().then_some(Self(tokens))
    }

    /// That value.
    pub fn root(&self) -> Json<'_> {
        Json(&self.0)
    }
}

impl<'a> Json<'a> {
    const NULL: Self = Self(&[Token {
        text: b"null",
        count: 1,
    }]);

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        self.token() == Some(b"null")
    }

    /// The value under a name of an object: null if there is none, the last if there are two.
    pub fn field(self, name: &str) -> Option<Self> {
        let mut found = Self::NULL;
        for (key, value) in self.fields()? {
            if key.text()? == name {
                found = value;
            }
        }
        Some(found)
    }

    /// What it says.
    pub fn get<T: FromJson>(self, name: &str) -> Option<T> {
        T::from_json(self.field(name)?)
    }

    /// The names and values of an object.
    pub fn fields(self) -> Option<impl Iterator<Item = (Self, Self)>> {
        let mut inner = self.inner(b'{')?;
        Some(std::iter::from_fn(move || inner.next().zip(inner.next())))
    }

    /// The values of an array.
    pub fn list(self) -> Option<List<'a>> {
        self.inner(b'[')
    }

    /// A string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let [b'"', quoted @ .., b'"'] = self.token()? else {
            return None;
        };
        let text = str::from_utf8(quoted).ok()?;
        match quoted.contains(&b'\\') {
            false => Some(Cow::Borrowed(text)),
            true => unescape(text).map(Cow::Owned),
        }
    }

    /// A string that stands for something.
    pub fn parsed<T: str::FromStr>(self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// A number without a fraction or an exponent, that fits.
    pub fn integer<T: str::FromStr>(self) -> Option<T> {
        let token = self.token()?;
        let (b'-' | b'0'..=b'9') = token.first()? else {
            return None;
        };
        str::from_utf8(token).ok()?.parse().ok()
    }

    fn token(self) -> Option<&'a [u8]> {
        self.0.first().map(|token| token.text)
    }

    fn inner(self, open: u8) -> Option<List<'a>> {
        let (token, inner) = self.0.split_first()?;
        (token.text.first() == Some(&open)).then_some(List(inner))
    }
}

/// Values, one after the other.
#[derive(Clone, Debug)]
pub struct List<'a>(&'a [Token<'a>]);

impl List<'_> {
    /// What the next value says.
    pub fn read<T: FromJson>(&mut self) -> Option<T> {
        self.next().and_then(T::from_json)
    }
}

impl<'a> Iterator for List<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let (value, rest) = self.0.split_at_checked(self.0.first()?.count)?;
        self.0 = rest;
        Some(Json(value))
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: Json<'_>) -> Option<Self> {
        if json.is_null() {
            return Some(None);
        }
        T::from_json(json).map(Some)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.list()?.map(T::from_json).collect()
    }
}

impl<T: FromJson, const N: usize> FromJson for [T; N] {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Vec::from_json(json)?.try_into().ok()
    }
}

impl<A: FromJson, B: FromJson> FromJson for (A, B) {
    fn from_json(json: Json<'_>) -> Option<Self> {
        let mut list = json.list()?;
        Some((list.read()?, list.read()?))
    }
}

impl FromJson for String {
    fn from_json(json: Json<'_>) -> Option<Self> {
        json.text().map(Cow::into_owned)
    }
}

impl FromJson for bool {
    fn from_json(json: Json<'_>) -> Option<Self> {
        match json.token()? {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl FromJson for $kind {
            fn from_json(json: Json<'_>) -> Option<Self> {
                json.integer()
            }
        }
    )*};
}
integers!(u8, u32, u64, usize, i64);

/// Finds the value that a text starts with, and what is in it; returns what is behind it.
fn value<'a>(text: &'a [u8], depth: u32, tokens: &mut Vec<Token<'a>>) -> Option<&'a [u8]> {
    let text = skip_space(text);
    let at = tokens.len();
    tokens.push(Token { text, count: 1 });
    let (first, rest) = text.split_first()?;
    let rest = match first {
        b'{' => inner(rest, b'}', depth.checked_sub(1)?, tokens)?,
        b'[' => inner(rest, b']', depth.checked_sub(1)?, tokens)?,
        b'"' => skip_string(rest)?,
        b'-' => skip_number(rest)?,
        b'0'..=b'9' => skip_number(text)?,
        _ => [&b"null"[..], b"true", b"false"]
            .into_iter()
            .find_map(|word| text.strip_prefix(word))?,
    };
    let count = tokens.len().checked_sub(at)?;
    let token = tokens.get_mut(at)?;
    token.text = text.get(..text.len().checked_sub(rest.len())?)?;
    token.count = count;
    Some(rest)
}

/// Finds what is in an array or an object.
fn inner<'a>(text: &'a [u8], close: u8, depth: u32, tokens: &mut Vec<Token<'a>>) -> Option<&'a [u8]> {
    let mut text = skip_space(text);
    if let Some(rest) = text.strip_prefix(&[close]) {
        return Some(rest);
    }
    loop {
        if close == b'}' {
            skip_space(text).strip_prefix(b"\"")?;
            text = skip_space(value(text, 0, tokens)?).strip_prefix(b":")?;
        }
        let rest = value(text, depth, tokens)?;
        match skip_space(rest).split_first()? {
            (b',', rest) => text = rest,
            (end, rest) => return (*end == close).then_some(rest),
        }
    }
}

/// To behind its end.
fn skip_string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = skip_while(text, |byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'u', a, b, c, d, rest @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => {
                rest
            }
            [
                b'\\',
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                rest @ ..,
            ] => rest,
            _ => return None,
        };
    }
}

/// A number, without its sign.
fn skip_number(text: &[u8]) -> Option<&[u8]> {
    let mut rest = match text {
        [b'0', rest @ ..] => rest,
        _ => skip_digits(text)?,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = skip_digits(fraction)?;
    }
    if let [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        rest = skip_digits(exponent)?;
    }
    Some(rest)
}

/// One at least.
fn skip_digits(text: &[u8]) -> Option<&[u8]> {
    let rest = skip_while(text, |byte| byte.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

fn skip_space(text: &[u8]) -> &[u8] {
    skip_while(text, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
}

fn skip_while(text: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !is_skipped(*byte));
    text.get(end.unwrap_or(text.len())..).unwrap_or_default()
}

/// `None` if half of a character is missing.
fn unescape(mut text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    while let Some((before, escape)) = text.split_once('\\') {
        plain.push_str(before);
        let mut rest = escape.chars();
        let character = match rest.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match unit(&mut rest)? {
                high @ 0xd800..=0xdbff => {
                    rest = rest.as_str().strip_prefix("\\u")?.chars();
                    let low = unit(&mut rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32((((high & 0x3ff) << 10) | low).saturating_add(0x1_0000))?
                }
                unit => char::from_u32(unit)?,
            },
            same => same,
        };
        plain.push(character);
        text = rest.as_str();
    }
    plain.push_str(text);
    Some(plain)
}

/// Four digits.
fn unit(text: &mut str::Chars<'_>) -> Option<u32> {
    let (digits, rest) = text.as_str().split_at_checked(4)?;
    *text = rest.chars();
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn read_all(text: &[u8]) -> Option<Value> {
        value(Document::parse(text)?.root())
    }

    /// The same, by another implementation.
    fn value(json: Json<'_>) -> Option<Value> {
        match json.token()?.first()? {
            b'{' => {
                let fields = json.fields()?;
                let fields =
                    fields.map(|(name, value_of)| Some((name.text()?.into_owned(), value(value_of)?)));
                fields.collect::<Option<_>>().map(Value::Object)
            }
            b'[' => json.list()?.map(value).collect::<Option<_>>().map(Value::Array),
            b'"' => json.text().map(|text| Value::String(text.into_owned())),
            b't' | b'f' => bool::from_json(json).map(Value::Bool),
            b'n' => json.is_null().then_some(Value::Null),
            _ => match (json.integer::<u64>(), json.integer::<i64>()) {
                (Some(number), _) => Some(number.into()),
                (None, Some(number)) => Some(number.into()),
                // No use of it is ours.
                (None, None) => serde_json::from_slice(json.token()?).ok(),
            },
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i16>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 50, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(wanted in any_value(), pretty: bool) {
            let text = match pretty {
                true => serde_json::to_string_pretty(&wanted).unwrap(),
                false => serde_json::to_string(&wanted).unwrap(),
            };
            prop_assert_eq!(read_all(text.as_bytes()), Some(wanted));
        }

        #[test]
        fn what_is_no_json_is_refused(
            wanted in any_value(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..4),
        ) {
            let mut text = serde_json::to_vec(&wanted).unwrap();
            for (at, byte) in changes {
                match (byte, at.index(text.len() + 1)) {
                    (None, at) => text.truncate(at),
                    (Some(byte), at) if at < text.len() => text[at] = byte,
                    (Some(byte), _) => text.push(byte),
                }
            }
            let read = read_all(&text);
            prop_assert_eq!(read, serde_json::from_slice(&text).ok(), "{:?}", String::from_utf8_lossy(&text));
        }

        #[test]
        fn any_text_of_its_signs_is_read_alike(text in r#"[\[\]{}",:0-9.eE+\-tfn\\urlas ]{0,24}"#) {
            let read = read_all(text.as_bytes());
            prop_assert_eq!(read, serde_json::from_str(&text).ok(), "{}", text);
        }
    }

    #[test]
    fn whole_numbers_are_exact() {
        let read = from_str::<Vec<u64>>("[18446744073709551615, 9007199254740993, 0]");
        assert_eq!(read, Some(vec![u64::MAX, (1 << 53) + 1, 0]));
        assert_eq!(from_str(" -9223372036854775808 "), Some(i64::MIN));
        for text in [
            "18446744073709551616",
            "-1",
            "1.0",
            "1e0",
            "\"1\"",
            "true",
            "null",
            "01",
            "+1",
            "",
        ] {
            assert_eq!(from_str::<u64>(text), None, "{text}");
        }
    }

    #[test]
    fn escapes_are_characters() {
        assert_eq!(
            from_str(r#""\"\\\/\b\f\n\r\t\u00e4\ud83e\udd80ü""#),
            Some("\"\\/\u{8}\u{c}\n\r\tä🦀ü".to_owned())
        );
        for text in [
            r#""\ud83e""#,
            r#""\udd80\ud83e""#,
            r#""\ud83e\u0041""#,
            r#""\u+123""#,
            r#""\x""#,
            "\"\n\"",
            "\"",
        ] {
            assert_eq!(from_str::<String>(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_found_by_their_name() {
        let document = Document::parse(br#"{"a":1,"b":{"a":2},"a":3,"\u0063":[null]}"#).unwrap();
        let json = document.root();
        assert_eq!(json.get("a"), Some(3_u8));
        assert_eq!(json.get("c"), Some(vec![None::<u8>]));
        assert_eq!(json.get("d"), Some(None::<u8>));
        assert_eq!(json.get::<u8>("d"), None);
        assert_eq!(json.get::<u8>("b"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(Document::parse(&nested(MAX_DEPTH as usize)).is_some());
        assert!(Document::parse(&nested(MAX_DEPTH as usize + 1)).is_none());
        assert!(Document::parse(&vec![b'['; 1 << 20]).is_none());
        assert!(Document::parse(&b"{\"a\":".repeat(1 << 20)).is_none());
    }
}
