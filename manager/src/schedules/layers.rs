//! A schedule's tables over those of `[defaults]`, merged key by key, with the positions of both kept.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table of a schedule over the same table of `[defaults]`.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    over: Option<&'a DeTable<'a>>,
    under: Option<&'a DeTable<'a>>,
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
    /// The value that counts: the schedule's, else that of `[defaults]`.
    pub value: &'a Spanned<DeValue<'a>>,
    /// The table of `[defaults]` below a table of the schedule.
    under: Option<&'a DeTable<'a>>,
}

impl<'a> Table<'a> {
    /// The outermost tables: those of a schedule, of `[defaults]`, or of the file.
    pub(super) fn new(
        over: Option<&'a DeTable<'a>>,
        under: Option<&'a DeTable<'a>>,
        span: Range<usize>,
    ) -> Self {
        Self { over, under, name: String::new(), span }
    }

    /// The key `key`, from the schedule or else from `[defaults]`.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'a>> {
        let below = self.under.and_then(|table| table.get_key_value(key));
        let (key, value) = self.over.and_then(|table| table.get_key_value(key)).or(below)?;
        let key_name = key.get_ref().as_ref();
        let name =
            if self.name.is_empty() { key_name.to_owned() } else { format!("{}.{key_name}", self.name) };
        let under = below.and_then(|(_, value)| value.get_ref().as_table());
        Some(Entry { key: key_name, name, key_span: key.span(), value, under })
    }

    /// All keys, in the file's order.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let keys = |table: Option<&'a DeTable<'a>>| table.into_iter().flat_map(DeTable::keys);
        let not_over =
            |key: &&Spanned<_>| !self.over.is_some_and(|over| over.contains_key::<str>(key_text(key)));
        let mut entries: Vec<_> = keys(self.over)
            .chain(keys(self.under).filter(not_over))
            .filter_map(|key| self.get(key_text(key)))
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        entries
    }

    /// What the schedule itself has written of this table; `None` when all of it comes from `[defaults]`.
    pub(super) fn own(&self) -> Option<&'a DeTable<'a>> {
        self.over
    }

    /// Whether the schedule has written this table and left it empty.
    pub(super) fn is_cleared(&self) -> bool {
        self.over.is_some_and(DeTable::is_empty)
    }
}

fn key_text<'k>(key: &'k Spanned<toml::de::DeString<'_>>) -> &'k str {
    key.get_ref().as_ref()
}

impl<'a> Entry<'a> {
    /// The entry as a table, if it is one.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        let table = self.value.get_ref().as_table()?;
        // A value that only `[defaults]` has is not the schedule's own.
        let inherited = self.under.is_some_and(|under| std::ptr::eq(under, table));
        let over = if inherited { None } else { Some(table) };
        Some(Table { over, under: self.under, name: self.name.clone(), span: self.key_span.clone() })
    }
}
