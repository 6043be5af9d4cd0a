//! A YAML document as a tree whose every node knows where it stands in the file.
//!
//! Scalars keep their text: what it means, a name, a time or a number, is up to who reads it. A password of digits
//! stays what it is.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle};

use super::problem::{Place, Problem};

/// Deeper than any configuration.
const DEEPEST: usize = 64;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What YAML knows.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`.
    Nothing,
    Scalar(String),
    List(Rc<Vec<Node>>),
    Mapping(Rc<Vec<Entry>>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

/// Reads one document; nothing where there is none.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Problem> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            Problem::new(
                place(error.marker()),
                format!("this is not YAML: {}", error.info()),
            )
        })?;
        builder.take(event, place(&span.start))?;
    }
    Ok(builder.root)
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col().saturating_add(1),
    }
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
}

/// A list or a mapping whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// A key whose value comes next.
        key: Option<(String, Place)>,
        /// Entries of other mappings (`<<: *defaults`), which yield to those that are written out.
        merged: Vec<Entry>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_plain = style == ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if is_plain => Value::Nothing,
                    _ => Value::Scalar(text.into_owned()),
                };
                self.add(Node { place, value }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Mapping {
                    entries: Vec::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(place, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let value = node.value.clone();
                    self.add(Node { place, value }, 0)
                }
                None => Err(Problem::new(place, "an alias of what is not complete yet")),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Problem::new(place, "a second document: write one"))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(Problem::new(place, "this is nested too deeply"));
        }
        self.open.push(Open {
            place,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(nodes) => Value::List(nodes.into()),
            Content::Mapping {
                mut entries, merged, ..
            } => {
                for entry in merged {
                    if entries.iter().all(|own| own.key != entry.key) {
                        entries.push(entry);
                    }
                }
                Value::Mapping(entries.into())
            }
        };
        let node = Node {
            place: open.place,
            value,
        };
        self.add(node, open.anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(nodes) => nodes.push(node),
            Content::Mapping {
                entries, key, merged, ..
            } => match key.take() {
                None => *key = Some(as_key(node)?),
                Some((key, _)) if key == "<<" => merge(&node, merged)?,
                Some((key, place)) => {
                    if entries.iter().any(|entry| entry.key == key) {
                        return Err(Problem::new(place, format!("{key} is there a second time")));
                    }
                    entries.push(Entry { key, place, node });
                }
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<(String, Place), Problem> {
    match node.value {
        Value::Scalar(text) => Ok((text, node.place)),
        _ => Err(Problem::new(node.place, "a name is expected here")),
    }
}

fn merge(node: &Node, merged: &mut Vec<Entry>) -> Result<(), Problem> {
    let wrong = || Problem::new(node.place, "<< takes a mapping, or a list of them");
    match &node.value {
        Value::Mapping(entries) => {
            merged.extend(entries.iter().cloned());
            Ok(())
        }
        Value::List(nodes) => nodes.iter().try_for_each(|node| match &node.value {
            Value::Mapping(entries) => {
                merged.extend(entries.iter().cloned());
                Ok(())
            }
            _ => Err(wrong()),
        }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line.
    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Nothing => "~".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::List(nodes) => {
                let nodes: Vec<String> = nodes.iter().map(shown).collect();
                format!("[{}]", nodes.join(" "))
            }
            Value::Mapping(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| format!("{}={}", entry.key, shown(&entry.node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn read(text: &str) -> String {
        match parse(text) {
            Ok(Some(node)) => shown(&node),
            Ok(None) => String::new(),
            Err(problem) => format!(
                "{}:{} {}",
                problem.place.line, problem.place.column, problem.message
            ),
        }
    }

    #[test]
    fn scalars_keep_their_text() {
        assert_eq!(
            read("a: 007\nb: 1e5\nc: yes\nd: ~\ne: '~'\nf: 0x1F\ng:\nh: \"\""),
            r#"{a="007" b="1e5" c="yes" d=~ e="~" f="0x1F" g=~ h=""}"#
        );
        assert_eq!(
            read("a: |\n  two\n  lines\nb: >-\n  one\n  line"),
            r#"{a="two\nlines\n" b="one line"}"#
        );
    }

    #[test]
    fn aliases_and_merges_stand_for_what_they_name() {
        assert_eq!(
            read("d: &d {a: 1, b: 2}\nx: {<<: *d, b: 3}\ny: [*d]"),
            r#"{d={a="1" b="2"} x={b="3" a="1"} y=[{a="1" b="2"}]}"#
        );
        assert_eq!(read("a: {<<: 3}"), "1:9 << takes a mapping, or a list of them");
    }

    #[test]
    fn what_is_not_one_document_is_refused_where_it_stands() {
        assert_eq!(read(""), "");
        assert_eq!(read("# nothing\n"), "");
        assert_eq!(read("a: 1\nb: 2\na: 3"), "3:1 a is there a second time");
        assert_eq!(read("a: 1\n---\nb: 2"), "2:1 a second document: write one");
        assert_eq!(read("{a: 1}: 2"), "1:1 a name is expected here");
        assert!(read("a: [1").starts_with("1:"), "{}", read("a: [1"));
        assert!(
            read("a: b: c").contains("this is not YAML"),
            "{}",
            read("a: b: c")
        );
        parse(&("[".repeat(100) + &"]".repeat(100))).unwrap_err();
    }
}
