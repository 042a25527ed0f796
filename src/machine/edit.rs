//! Changes to a message's properties, as a list: a machine says what is to change, whoever holds the message's
//! bytes changes it.

use crate::protocol::Properties;

/// One change to a property block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyEdit {
    /// Set, replacing what is there.
    Put(&'static str, String),
    /// Remove if there.
    Clear(&'static str),
}

impl PropertyEdit {
    pub fn put(name: &'static str, value: impl ToString) -> PropertyEdit {
        PropertyEdit::Put(name, value.to_string())
    }

    /// The property this edit is about.
    pub fn name(&self) -> &'static str {
        match self {
            PropertyEdit::Put(name, _) | PropertyEdit::Clear(name) => name,
        }
    }

    /// Makes the changes, in order.
    pub fn apply(edits: &[PropertyEdit], properties: &mut Properties) {
        for edit in edits {
            match edit {
                PropertyEdit::Put(name, value) => properties.set(*name, value.as_str()),
                PropertyEdit::Clear(name) => drop(properties.remove(name)),
            }
        }
    }
}
