//! YAML as `kubectl` reads it, with the line of every field.
//!
//! Bounded against bombs: nesting, and the number of values after aliases are followed.

mod scalar;

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// Deepest nesting of a document; the resources of ours need nine levels.
const MAX_DEPTH: usize = 64;
/// Values in one file, those behind aliases counted each time.
const MAX_VALUES: usize = 200_000;

/// Longest path that is kept apart from its parent's, in bytes: no field of ours is that deep.
const MAX_PATH: usize = 512;

/// Lines of the fields of a document, by path (`spec.targets[0].name`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(BTreeMap<String, u32>);

impl Lines {
    /// Whether no lines are known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The line of a field, or of the nearest field around it that was written down.
    pub(crate) fn of(&self, path: &str) -> u32 {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.0.get("").copied().unwrap_or(1),
            }
        }
    }
}

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) lines: Lines,
    /// Fields that are there twice.
    pub(crate) duplicates: Vec<String>,
}

/// Why a file cannot be read from some line on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// The documents of a file, up to the first place that is not YAML.
pub(crate) fn parse(text: &str) -> (Vec<Document>, Option<Failure>) {
    let mut reader = Reader::default();
    let failure = Parser::new_from_str(text).find_map(|event| match event {
        Ok((event, span)) => reader.take(event, span).err(),
        Err(error) => {
            Some(Failure { line: line(error.marker().line()), message: format!("not valid YAML: {}", error.info()) })
        }
    });
    (reader.documents, failure)
}

/// The path of a field of `parent`.
pub(crate) fn field(parent: &str, name: &str) -> String {
    match (parent.is_empty(), parent.len() + name.len() > MAX_PATH) {
        (_, true) => parent.to_owned(),
        (true, false) => name.to_owned(),
        (false, false) => format!("{parent}.{name}"),
    }
}

/// The path of an item of `parent`.
pub(crate) fn item(parent: &str, index: usize) -> String {
    if parent.len() > MAX_PATH { parent.to_owned() } else { format!("{parent}[{index}]") }
}

/// A list or mapping that is not finished.
struct Frame {
    path: String,
    anchor: usize,
    open: Open,
    /// Values in it, so that an alias to it can be charged.
    values: usize,
}

enum Open {
    List(Vec<Value>),
    Mapping { fields: Map<String, Value>, key: Option<String> },
}

#[derive(Default)]
struct Reader {
    documents: Vec<Document>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Value, usize)>,
    lines: Lines,
    duplicates: Vec<String>,
    root: Option<Value>,
    values: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Failure> {
        let at = line(span.start.line());
        match event {
            Event::DocumentStart(_) => {
                self.lines = Lines::default();
                self.lines.0.insert(String::new(), at);
            }
            Event::DocumentEnd => self.end_document(),
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(frame) = self.frames.last_mut()
                    && let Open::Mapping { fields, key: key @ None } = &mut frame.open
                {
                    let path = field(&frame.path, &text);
                    if fields.contains_key(&*text) {
                        self.duplicates.push(path.clone());
                    }
                    *key = Some(text.into_owned());
                    self.lines.0.insert(path, at);
                } else {
                    let is_text = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                    let plain = style == ScalarStyle::Plain && !is_text;
                    let value = if plain { scalar::resolve(&text) } else { Value::String(text.into_owned()) };
                    self.add(value, 1, anchor, at)?;
                }
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Open::List(vec![]), at)?,
            Event::MappingStart(anchor, _) => self.open(anchor, Open::Mapping { fields: Map::new(), key: None }, at)?,
            Event::SequenceEnd | Event::MappingEnd => self.close(at)?,
            Event::Alias(anchor) => {
                let Some(values) = self.anchors.get(&anchor).map(|(_, values)| *values) else {
                    return Err(failure(at, "an alias must stand behind the anchor that it names"));
                };
                // Charged before it is copied: a bomb is refused while it is small.
                self.charge(values, at)?;
                let value = self.anchors.get(&anchor).map(|(value, _)| value.clone()).unwrap_or_default();
                self.attach(value, values, at)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
        }
        Ok(())
    }

    fn end_document(&mut self) {
        self.frames.clear();
        self.anchors.clear();
        let duplicates = std::mem::take(&mut self.duplicates);
        if let Some(value) = self.root.take() {
            // The line of a document is that of its first field, not of the `---` or the comments before it.
            let first = self.lines.0.iter().filter(|(path, _)| !path.is_empty()).map(|(_, line)| *line).min();
            if let Some(first) = first {
                self.lines.0.insert(String::new(), first);
            }
            self.documents.push(Document { value, lines: std::mem::take(&mut self.lines), duplicates });
        }
    }

    fn open(&mut self, anchor: usize, open: Open, at: u32) -> Result<(), Failure> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(failure(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let path = self.next_path(at)?;
        self.frames.push(Frame { path, anchor, open, values: 1 });
        Ok(())
    }

    fn close(&mut self, at: u32) -> Result<(), Failure> {
        let Some(frame) = self.frames.pop() else { return Err(failure(at, "a list or mapping ends that never began")) };
        let value = match frame.open {
            Open::List(items) => Value::Array(items),
            Open::Mapping { fields, .. } => Value::Object(fields),
        };
        self.add(value, frame.values, frame.anchor, at)
    }

    fn add(&mut self, value: Value, values: usize, anchor: usize, at: u32) -> Result<(), Failure> {
        self.charge(1, at)?;
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), values));
        }
        self.attach(value, values, at)
    }

    fn charge(&mut self, values: usize, at: u32) -> Result<(), Failure> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            return Err(failure(at, format!("more than {MAX_VALUES} values in one file, aliases followed; split it")));
        }
        Ok(())
    }

    fn attach(&mut self, value: Value, values: usize, at: u32) -> Result<(), Failure> {
        if let Some(frame) = self.frames.last_mut() {
            frame.values = frame.values.saturating_add(values);
        }
        match self.frames.last_mut().map(|frame| (&mut frame.open, &frame.path)) {
            None => self.root = Some(value),
            Some((Open::List(items), path)) => {
                self.lines.0.entry(item(path, items.len())).or_insert(at);
                items.push(value);
            }
            Some((Open::Mapping { fields, key }, _)) => {
                let Some(key) = key.take() else { return Err(failure(at, "the key of a field must be plain text")) };
                fields.insert(key, value);
            }
        }
        Ok(())
    }

    /// Where a list or mapping that begins now will be.
    fn next_path(&mut self, at: u32) -> Result<String, Failure> {
        match self.frames.last().map(|frame| (&frame.open, &frame.path)) {
            None => Ok(String::new()),
            Some((Open::List(items), path)) => {
                let path = item(path, items.len());
                self.lines.0.insert(path.clone(), at);
                Ok(path)
            }
            Some((Open::Mapping { key: Some(key), .. }, path)) => Ok(field(path, key)),
            Some((Open::Mapping { key: None, .. }, _)) => Err(failure(at, "the key of a field must be plain text")),
        }
    }
}

fn failure(line: u32, message: impl Into<String>) -> Failure {
    Failure { line, message: message.into() }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
