//! Reads a mapping key by key, remembers which keys there are, and complains of the others.

use std::cell::RefCell;
use std::rc::Rc;

use super::expand::expand;
use super::foreign::Foreign;
use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Value};

/// A name is meant if so much of it is right.
const ALIKE: f64 = 0.75;

/// What variables hold; `None` for one that is not set.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What all sections of a file share.
pub(super) struct Reader<'a> {
    /// What a variable holds; `None` where values are taken as they are.
    variable: Option<Variables<'a>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variable: Option<Variables<'a>>) -> Self {
        Self {
            variable,
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, place: Place, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(place, message));
    }

    pub(super) fn warning(&self, place: Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::new(place, message));
    }

    /// All that is wrong, and all that is worth a word, in the order of the file.
    pub(super) fn into_findings(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |findings: RefCell<Vec<Problem>>| {
            let mut findings = findings.into_inner();
            findings.sort();
            findings.dedup();
            findings
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    fn expand(&self, text: &str, place: Place) -> String {
        let Some(variable) = self.variable else {
            return text.to_owned();
        };
        let (expanded, missing) = expand(text, variable);
        for name in missing {
            self.warning(
                place,
                format!("the variable {name} is not set: it stands for nothing"),
            );
        }
        expanded
    }
}

/// One mapping.
pub(super) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// What it describes, for messages: "a replica".
    what: &'static str,
    pub(super) place: Place,
    entries: Rc<Vec<Entry>>,
    /// The keys that were asked for.
    keys: Vec<&'static str>,
}

impl<'r> Section<'r> {
    /// `None`, and a complaint, if the node is no mapping.
    pub(super) fn of(reader: &'r Reader<'r>, what: &'static str, node: &Node) -> Option<Self> {
        let entries = match &node.value {
            Value::Mapping(entries) => Rc::clone(entries),
            Value::Nothing => Rc::default(),
            Value::Scalar(_) | Value::List(_) => {
                reader.problem(
                    node.place,
                    format!("{what} is described by names and values, \"name: value\""),
                );
                return None;
            }
        };
        Some(Self {
            reader,
            what,
            place: node.place,
            entries,
            keys: Vec::new(),
        })
    }

    /// The node of a key, if it is there and has a value.
    pub(super) fn node(&mut self, key: &'static str) -> Option<Node> {
        self.keys.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.node.value, Value::Nothing)).then(|| entry.node.clone())
    }

    /// A text, with its variables expanded; nothing where it is empty.
    pub(super) fn text_at(&mut self, key: &'static str) -> Option<(String, Place)> {
        let node = self.node(key)?;
        match &node.value {
            Value::Scalar(text) => {
                let text = self.reader.expand(text, node.place);
                (!text.is_empty()).then_some((text, node.place))
            }
            _ => {
                self.reader
                    .problem(node.place, format!("{key} takes a single value"));
                None
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.text_at(key).map(|(text, _)| text)
    }

    /// A value of some kind; what is wrong with it is told, with the value.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, place) = self.text_at(key)?;
        read(&text)
            .inspect_err(|why| {
                self.reader
                    .problem(place, format!("{key}: {text:?} will not do: {why}"))
            })
            .ok()
    }

    pub(super) fn section(&mut self, key: &'static str, what: &'static str) -> Option<Self> {
        let node = self.node(key)?;
        Self::of(self.reader, what, &node)
    }

    pub(super) fn list(&mut self, key: &'static str) -> Vec<Node> {
        match self.node(key) {
            None => Vec::new(),
            Some(node) => match &node.value {
                Value::List(nodes) => nodes.to_vec(),
                _ => {
                    self.reader.problem(
                        node.place,
                        format!("{key} takes a list, every item with a dash before it"),
                    );
                    Vec::new()
                }
            },
        }
    }

    /// Where a key stands.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(self.place, |entry| entry.place)
    }

    /// After all that is known was asked for: complains of the rest.
    pub(super) fn finish(self, foreign: &[Foreign]) {
        for entry in self.entries.iter() {
            if self.keys.contains(&entry.key.as_str()) {
                continue;
            }
            match foreign.iter().find(|foreign| foreign.key == entry.key) {
                Some(foreign) if foreign.is_refused => {
                    self.reader
                        .problem(entry.place, format!("{}: {}", entry.key, foreign.why));
                }
                Some(foreign) => {
                    let message = format!("{} has no effect here: {}", entry.key, foreign.why);
                    self.reader.warning(entry.place, message);
                }
                None => self
                    .reader
                    .problem(entry.place, self.unknown(&entry.key, foreign)),
            }
        }
    }

    fn unknown(&self, key: &str, foreign: &[Foreign]) -> String {
        let all = self
            .keys
            .iter()
            .copied()
            .chain(foreign.iter().map(|foreign| foreign.key));
        let nearest = all
            .map(|known| (strsim::jaro_winkler(key, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness >= ALIKE);
        match nearest {
            Some((_, known)) => format!("{} has no {key}: did you mean {known}?", self.what),
            None => format!("{} has no {key}", self.what),
        }
    }
}
