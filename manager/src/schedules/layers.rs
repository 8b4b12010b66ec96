//! A target's tables over those of its schedule over those of `[defaults]`, merged key by key, with the positions of all
//! kept.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of a target or of a schedule over the same table of what is below it.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    /// What the target, or the schedule, has written itself.
    own: Option<&'a DeTable<'a>>,
    /// What counts where that says nothing, the nearest first.
    below: Vec<&'a DeTable<'a>>,
    /// The table's name within a schedule, such as `image` or `checks.disk`; empty for the schedule itself.
    pub name: String,
    /// What a message about the whole table points at: its key.
    pub span: Range<usize>,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    /// The key.
    pub key: &'a str,
    /// The key with the tables before it: `image.elements`.
    pub name: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// The value that counts: that of the uppermost table which has the key.
    pub value: &'a Spanned<DeValue<'a>>,
    /// Whether the target, or the schedule, has written it itself.
    is_own: bool,
    /// The tables below a table.
    below: Vec<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// The outermost tables: those of a target, of a schedule, of `[defaults]`, or of the file.
    pub(super) fn new(
        own: Option<&'a DeTable<'a>>,
        below: impl IntoIterator<Item = &'a DeTable<'a>>,
        span: Range<usize>,
    ) -> Self {
        Self { own, below: below.into_iter().collect(), name: String::new(), span }
    }

    /// The same table as what is below `own`.
    pub(super) fn under(&self, own: &'a DeTable<'a>, span: Range<usize>) -> Self {
        Self { own: Some(own), below: self.layers().collect(), name: self.name.clone(), span }
    }

    fn layers(&self) -> impl Iterator<Item = &'a DeTable<'a>> {
        self.own.into_iter().chain(self.below.iter().copied())
    }

    /// The key `key`, from the uppermost table that has it.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        let mut found = self.layers().filter_map(|table| table.get_key_value(key));
        let (key, value) = found.next()?;
        let key_name = key.get_ref().as_ref();
        let name =
            if self.name.is_empty() { key_name.to_owned() } else { format!("{}.{key_name}", self.name) };
        let is_own = self.own.is_some_and(|own| own.contains_key::<str>(key_name));
        let below = found.map_while(|(_, value)| value.get_ref().as_table()).collect();
        Some(Entry { key: key_name, name, key_span: key.span(), value, is_own, below })
    }

    /// All keys, in the file's order.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let keys: BTreeSet<&str> =
            self.layers().flat_map(DeTable::keys).map(|key| key.get_ref().as_ref()).collect();
        let mut entries: Vec<_> = keys.into_iter().filter_map(|key| self.get(key)).collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    /// What the target, or the schedule, itself has written of this table; `None` when all of it comes from below.
    pub(super) fn own(&self) -> Option<&'a DeTable<'a>> {
        self.own
    }

    /// The table as it is when an empty one hides what is below it, and whether there is one.
    pub(super) fn down_to_an_empty_one(self) -> (Self, bool) {
        let Some(empty) = self.layers().position(DeTable::is_empty) else { return (self, false) };
        let above = if self.own.is_some() { empty.saturating_sub(1) } else { empty };
        let below = self.below.iter().take(above).copied().collect();
        (Self { below, ..self }, true)
    }
}

impl<'a> Entry<'a> {
    /// The entry as a table, if it is one.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        let table = self.value.get_ref().as_table()?;
        let mut below = self.below.clone();
        let own = if self.is_own {
            Some(table)
        } else {
            below.insert(0, table);
            None
        };
        Some(Table { own, below, name: self.name.clone(), span: self.key_span.clone() })
    }
}
