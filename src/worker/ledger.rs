//! What a Durable Object remembers of its database, in its own SQLite: where it stands, its objects, the one upload that is
//! under way, and how its upkeep stands (see `upkeep`).
//!
//! Statements with no await between them are written together or not at all.

use std::cell::{Cell, RefCell};

use serde::Serialize;
use worker::{Date, SqlStorage, SqlStorageValue, Storage};

use super::chain::Step;
use super::failure::Failure;
use super::head::Head;
use super::r2::Found;
use crate::json::{Document, FromJson, Json, List, from_str};
use crate::ltx::{DbSum, FileChecksum, Header, Sums, Txid};
use crate::replica::{Catalog, Level, Position, SegmentId, SegmentInfo};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  level INTEGER NOT NULL, min_txid TEXT NOT NULL, max_txid TEXT NOT NULL, size INTEGER NOT NULL, timestamp INTEGER,
  sum_before TEXT, sum_after TEXT, page_size INTEGER, commit_pages INTEGER,
  since INTEGER NOT NULL, bundled INTEGER, damaged INTEGER, leaving INTEGER, bytes BLOB,
  PRIMARY KEY (level, min_txid, max_txid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS page_sums (block INTEGER PRIMARY KEY, sums BLOB NOT NULL)";
/// Whether they are there.
const FIND_TABLES: &str = "SELECT name FROM sqlite_master WHERE name = 'notes'";
/// The note that says where the replica stands.
const STATE: &str = "state";
/// The note of the transaction whose object may still come, from an upload that was given up.
const LATE: &str = "late";

/// For arrays of JSON, which is how they come out of SQLite: one value a query.
const ID: &str = "level, min_txid, max_txid";
const INFO: &str = "level, min_txid, max_txid, size, timestamp";
/// How many come out at once.
const PIECE: u32 = 1000;
/// The most that an answer is computed from: 5 MB of memory.
const MAX_SEGMENTS: usize = 100_000;

/// The memory of one database.
#[derive(Debug)]
pub(super) struct Ledger {
    sql: SqlStorage,
    storage: Storage,
    /// As it was last read or written; nobody else writes.
    state: RefCell<Option<State>>,
    /// Whether the tables are there, which the first thing to be remembered makes: a name that is only asked for leaves nothing.
    has_tables: Cell<Option<bool>>,
    /// Objects were added or forgotten since somebody last asked.
    changed: Cell<bool>,
    /// How often everything was forgotten.
    generation: Cell<u64>,
    /// How many bytes the kept segments have together, once they were counted.
    kept_bytes: Cell<Option<u64>>,
}

/// What is known of a database.
#[derive(Clone, Debug, Serialize)]
pub(super) enum State {
    /// The bucket is being read, from its start or from behind this key on.
    Rebuilding(Option<String>),
    /// This is known, and the segment that ends there, and what may have been created since.
    Known(Head, Option<SegmentId>, Option<Intent>),
}

/// A segment that is about to be created.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Intent {
    pub(super) id: SegmentId,
    pub(super) size: u64,
    checksum: String,
    header: String,
    /// R2's name for an upload in parts that becomes it.
    pub(super) multipart: Option<String>,
}

impl Ledger {
    pub(super) fn new(storage: Storage) -> Self {
        let sql = storage.sql();
        Self {
            sql,
            storage,
            state: RefCell::new(None),
            has_tables: Cell::new(None),
            changed: Cell::new(false),
            generation: Cell::new(0),
            kept_bytes: Cell::new(None),
        }
    }

    /// What was known when this was last written.
    pub(super) fn open(&self) -> Result<State, Failure> {
        if let Some(state) = &*self.state.borrow() {
            return Ok(state.clone());
        }
        let state = self.note(STATE)?.map_or(State::Rebuilding(None), State::with_tip);
        self.state.replace(Some(state.clone()));
        Ok(state)
    }

    pub(super) fn set(&self, state: &State) -> Result<(), Failure> {
        // What is empty is found out as soon as it is read.
        if !self.is_blank()? || !state.is_empty() {
            self.set_note(STATE, state)?;
        }
        self.state.replace(Some(state.clone().with_tip()));
        Ok(())
    }

    /// Whether nothing was ever remembered.
    pub(super) fn is_blank(&self) -> Result<bool, Failure> {
        if let Some(has_tables) = self.has_tables.get() {
            return Ok(!has_tables);
        }
        let found = self.sql.exec(FIND_TABLES, None)?.raw().next().transpose()?;
        if found.is_some() {
            // Those that an earlier version had not.
            self.make_tables()?;
        }
        self.has_tables.set(Some(found.is_some()));
        Ok(found.is_none())
    }

    fn make_tables(&self) -> Result<(), Failure> {
        self.sql.exec(SCHEMA, None)?;
        self.has_tables.set(Some(true));
        Ok(())
    }

    /// What was noted under a name, if it can be read.
    pub(super) fn note<T: FromJson>(&self, name: &str) -> Result<Option<T>, Failure> {
        let note = self.text("SELECT note FROM notes WHERE name = ?", [name.into()])?;
        Ok(note.and_then(|note| from_str(&note)))
    }

    /// The same for what must not be forgotten: that it cannot be read is an error.
    pub(super) fn sure_note<T: FromJson>(&self, name: &str) -> Result<Option<T>, Failure> {
        let note = self.text("SELECT note FROM notes WHERE name = ?", [name.into()])?;
        note.map(|note| from_str(&note).ok_or_else(unreadable))
            .transpose()
    }

    pub(super) fn set_note(&self, name: &str, note: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(note).map_err(|_| unreadable())?;
        self.run(
            "INSERT OR REPLACE INTO notes VALUES (?, ?)",
            [name.into(), text.into()],
        )
    }

    pub(super) fn forget_note(&self, name: &str) -> Result<(), Failure> {
        self.run("DELETE FROM notes WHERE name = ?", [name.into()])
    }

    /// Notes that R2 may yet create a raw segment that starts there: only there it is certain which one does. Of other
    /// levels nothing is kept here.
    pub(super) fn set_late(&self, id: SegmentId) -> Result<(), Failure> {
        match id.level {
            Level::RAW => self.set_note(LATE, &id.min),
            _ => Ok(()),
        }
    }

    pub(super) fn is_late(&self, id: SegmentId) -> Result<bool, Failure> {
        Ok(self.sure_note(LATE)? == Some(id.min))
    }

    /// Whether objects were added or forgotten since this was last asked.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.take()
    }

    /// Another number after everything was forgotten.
    pub(super) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Returns when all that was written stays.
    pub(super) async fn sync(&self) -> Result<(), Failure> {
        Ok(self.storage.sync().await?)
    }

    /// Forgets all objects. None may be kept here.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        self.changed.set(true);
        self.generation.set(self.generation.get().wrapping_add(1));
        self.run("DELETE FROM objects", [])
    }

    /// Adds an object, which is there since now; one that was added before stays as it is.
    pub(super) fn add(&self, found: &Found) -> Result<(), Failure> {
        self.insert(found, None)
    }

    /// Adds a segment and its bytes, which are kept here and not in the bucket.
    pub(super) fn keep(&self, found: &Found, bytes: Vec<u8>) -> Result<(), Failure> {
        let kept = self.kept_bytes()?;
        self.kept_bytes.set(Some(kept.saturating_add(bytes.len() as u64)));
        self.insert(found, Some(bytes))
    }

    /// The bytes of a segment that is kept here.
    pub(super) fn kept(&self, id: SegmentId) -> Result<Option<Vec<u8>>, Failure> {
        if id.level != Level::RAW {
            return Ok(None);
        }
        let sql = "SELECT bytes FROM objects WHERE level = ? AND min_txid = ? AND max_txid = ?";
        self.blob(sql, Vec::from(key(id)))
    }

    /// How many bytes are kept here.
    pub(super) fn kept_bytes(&self) -> Result<u64, Failure> {
        if let Some(bytes) = self.kept_bytes.get() {
            return Ok(bytes);
        }
        let sql = "SELECT CAST(coalesce(sum(length(bytes)), 0) AS TEXT) FROM objects WHERE level = 0";
        let bytes = self
            .text(sql, [])?
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or(0);
        self.kept_bytes.set(Some(bytes));
        Ok(bytes)
    }

    /// Some of those that are kept here.
    pub(super) fn all_kept(&self) -> Result<Vec<SegmentId>, Failure> {
        let rows = self.text(
            &format!(
                "SELECT json_group_array(json_array({ID})) FROM (SELECT * FROM objects WHERE level = 0 AND bytes IS NOT NULL \
                 LIMIT {PIECE})"
            ),
            [],
        )?;
        read_rows(rows, id)
    }

    /// The bucket has it now.
    pub(super) fn give_away(&self, id: SegmentId) -> Result<(), Failure> {
        self.kept_bytes.set(None);
        let sql = "UPDATE objects SET bytes = NULL WHERE level = ? AND min_txid = ? AND max_txid = ?";
        self.run(sql, key(id))
    }

    fn insert(&self, found: &Found, bytes: Option<Vec<u8>>) -> Result<(), Failure> {
        let sums = found.header.as_ref().and_then(|header| header.sums);
        let sum = |of: fn(&Sums) -> DbSum| sums.as_ref().map(|sums| of(sums).to_string());
        self.changed.set(true);
        self.run(
            "INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?)",
            [
                i64::from(u8::from(found.info.id.level)).into(),
                found.info.id.min.to_string().into(),
                found.info.id.max.to_string().into(),
                integer(found.info.size),
                found.info.timestamp.map(|time| time.0).into(),
                sum(|sums| sums.before).into(),
                sum(|sums| sums.after).into(),
                found
                    .header
                    .as_ref()
                    .map(|header| i64::from(header.page_size.get()))
                    .into(),
                found
                    .header
                    .as_ref()
                    .map(|header| i64::from(header.commit))
                    .into(),
                now().into(),
                bytes.map_or(SqlStorageValue::Null, SqlStorageValue::Blob),
            ],
        )
    }

    /// Takes one out.
    pub(super) fn remove(&self, id: SegmentId) -> Result<(), Failure> {
        if id.level == Level::RAW {
            self.kept_bytes.set(None);
        }
        self.run(
            "DELETE FROM objects WHERE level = ? AND min_txid = ? AND max_txid = ?",
            key(id),
        )
    }

    pub(super) fn holds(&self, id: SegmentId) -> Result<bool, Failure> {
        let sql =
            "SELECT 'yes' FROM objects WHERE level = ? AND min_txid = ? AND max_txid = ? AND leaving IS NULL";
        Ok(self.text(sql, key(id))?.is_some())
    }

    /// The objects of a level or a shelf, or the segments of all levels, that reach beyond `after`, those after `cursor`, at most so many: ascending by
    /// level, then by first transaction.
    pub(super) fn page(
        &self,
        level: Option<Level>,
        after: Txid,
        cursor: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentInfo>, Failure> {
        let mut found: Vec<SegmentInfo> = Vec::new();
        let levels = level.map_or_else(|| Level::all().collect(), |level| vec![level]);
        for level in levels {
            let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit));
            let start = match cursor {
                Some(cursor) if cursor.level > level => continue,
                Some(cursor) if cursor.level == level => (cursor.min.to_string(), cursor.max.to_string()),
                _ => (self.floor(level, after)?, String::new()),
            };
            if missing > 0 {
                found.append(&mut self.piece(level, after, start, missing)?);
            }
        }
        Ok(found)
    }

    /// All of them that reach beyond `after`.
    pub(super) fn all(&self, level: Option<Level>, after: Txid) -> Result<Vec<SegmentInfo>, Failure> {
        let mut all = self.page(level, after, None, PIECE)?;
        let mut last = 0;
        while all.len().saturating_sub(last) >= PIECE as usize && all.len() <= max_segments() {
            last = all.len();
            let cursor = all.last().map(|info| info.id);
            all.append(&mut self.page(level, after, cursor, PIECE)?);
        }
        if all.len() > max_segments() {
            return Err(too_many());
        }
        Ok(all)
    }

    /// Those that the newest state may be made of: of the raw ones, the first, which may be a whole database, and those
    /// beyond what the levels lead to.
    pub(super) fn newest(&self, after: Txid) -> Result<Vec<SegmentInfo>, Failure> {
        let mut found = self.page(Some(Level::RAW), after, None, 1)?;
        for level in Level::all().filter(|level| *level != Level::RAW) {
            found.append(&mut self.all(Some(level), after)?);
        }
        let levels = found.iter().filter(|info| info.id.level != Level::RAW);
        let led = levels.map(|info| info.id.max).max();
        found.append(&mut self.all(Some(Level::RAW), led.unwrap_or_default().max(after))?);
        if found.len() > max_segments() {
            return Err(too_many());
        }
        Ok(found)
    }

    /// All of them, as steps.
    pub(super) fn steps(&self) -> Result<Vec<Step>, Failure> {
        let mut steps: Vec<Step> = Vec::new();
        loop {
            let last = steps.last().map(|step| step.id);
            let [level, min, max] = last.map_or_else(|| [(-1).into(), "".into(), "".into()], key);
            let rows = self.text(
                &format!("SELECT json_group_array(json_array({ID}, sum_before, sum_after)) FROM (SELECT * FROM objects WHERE (level, min_txid, max_txid) > (?, ?, ?) AND level <= 9 AND leaving IS NULL ORDER BY level, min_txid, max_txid LIMIT ?)"),
                [level, min, max, i64::from(PIECE).into()],
            )?;
            let mut rows = read_rows(rows, |row| {
                let id = id(row)?;
                let sums = row.read::<Option<_>>()?.zip(row.read()?);
                let sums = sums.map(|(before, after)| Sums { before, after });
                Some(Step { id, sums })
            })?;
            let is_last = rows.len() < PIECE as usize;
            steps.append(&mut rows);
            if is_last {
                return Ok(steps);
            }
        }
    }

    /// The head at the end of this segment; `None` if it is not there, or not known well enough.
    pub(super) fn head_at(&self, tip: SegmentId) -> Result<Option<Head>, Failure> {
        let row = self.text(
            &format!(
                "SELECT json_array({INFO}, sum_after, page_size, commit_pages) FROM objects WHERE level = ? AND min_txid = ? AND max_txid = ?"
            ),
            key(tip),
        )?;
        let Some(row) = row else {
            return Ok(None);
        };
        read_row(&row, |row| {
            let info = info(row)?;
            let (txid, sum) = (info.id.max, row.read()?);
            let (page_size, commit) = (row.read::<Option<_>>()?, row.read::<Option<_>>()?);
            Some(commit.filter(|_| page_size.is_some()).map(|commit| Head {
                position: Position { txid, sum },
                page_size,
                commit,
                timestamp: info.timestamp,
                tip: Some(tip),
                ..Head::EMPTY
            }))
        })
    }

    /// How many there are, and their bytes.
    pub(super) fn totals(&self) -> Result<(u64, u64), Failure> {
        let totals = self.text(
            "SELECT json_array(count(*), coalesce(sum(size), 0)) FROM objects WHERE leaving IS NULL",
            [],
        )?;
        totals.map_or(Ok((0, 0)), |totals| from_str(&totals).ok_or_else(unreadable))
    }

    /// Where the segments of a level that reach beyond `after` start. Raw segments do not overlap: those before the last
    /// that starts by then need not be looked at.
    fn floor(&self, level: Level, after: Txid) -> Result<String, Failure> {
        if level != Level::RAW {
            return Ok(String::new());
        }
        let sql = "SELECT max(min_txid) FROM objects WHERE level = 0 AND min_txid <= ? AND leaving IS NULL";
        Ok(self.text(sql, [after.to_string().into()])?.unwrap_or_default())
    }

    fn piece(
        &self,
        level: Level,
        after: Txid,
        (min, max): (String, String),
        limit: u32,
    ) -> Result<Vec<SegmentInfo>, Failure> {
        let rows = self.text(
            &format!(
                "SELECT json_group_array(json_array({INFO})) FROM (SELECT * FROM objects WHERE level = ? AND \
                 (min_txid, max_txid) > (?, ?) AND max_txid > ? AND leaving IS NULL ORDER BY min_txid, max_txid LIMIT ?)"
            ),
            [
                i64::from(u8::from(level)).into(),
                min.into(),
                max.into(),
                after.to_string().into(),
                i64::from(limit).into(),
            ],
        )?;
        read_rows(rows, info)
    }

    /// All that upkeep wants to know. Where that is too much, what it leaves out is raw: what comes next into a level is
    /// there, then what may go, so that there is less the next time.
    pub(super) fn catalog(&self) -> Result<Catalog, Failure> {
        let mut catalog = Catalog::default();
        let most = max_segments();
        let read = self.take_into(&mut catalog, "level > 0", most)?;
        let room = most.saturating_sub(read);
        if room == 0 {
            return Err(too_many());
        }
        if self.take_into(&mut catalog, "level = 0", room)? < room {
            return Ok(catalog);
        }
        let raw: Vec<SegmentId> = catalog.level(Level::RAW).map(|(id, _)| id).collect();
        raw.into_iter().for_each(|id| catalog.remove(id));
        let levels = Level::all().filter(|level| (Level::RAW..Level::SNAPSHOT).contains(level));
        let led = levels.filter_map(|level| catalog.frontier(level)).max();
        let led = led.unwrap_or(Txid::ZERO);
        let whole = format!("level = 0 AND min_txid = '{}'", Txid::FIRST);
        let room = room.saturating_sub(self.take_into(&mut catalog, &whole, room / 2)?);
        let next = format!("level = 0 AND max_txid > '{led}'");
        let mut room = room.saturating_sub(self.take_into(&mut catalog, &next, room / 2)?);
        for held in ["bundled IS NOT NULL", "bundled IS NULL"] {
            let held = format!("level = 0 AND max_txid <= '{led}' AND {held}");
            room = room.saturating_sub(self.take_into(&mut catalog, &held, room)?);
        }
        Ok(catalog)
    }

    /// Adds those that are so, at most so many; returns how many.
    fn take_into(&self, catalog: &mut Catalog, are: &str, most: usize) -> Result<usize, Failure> {
        // Beyond all raw ones, if none are wanted.
        let start = if are == "level > 0" { (0, "g") } else { (-1, "") };
        let mut last: Option<SegmentId> = None;
        let mut count = 0usize;
        loop {
            let limit = most.saturating_sub(count).min(PIECE as usize);
            let [level, min, max] =
                last.map_or_else(|| [i64::from(start.0).into(), start.1.into(), "".into()], key);
            let rows = self.text(
                &format!(
                    "SELECT json_group_array(json_array({INFO}, since, bundled, damaged)) FROM (SELECT * FROM \
                     objects WHERE (level, min_txid, max_txid) > (?, ?, ?) AND {are} AND leaving IS NULL ORDER BY level, \
                     min_txid, max_txid LIMIT {limit})"
                ),
                [level, min, max],
            )?;
            let rows = read_rows(rows, |row| {
                let info = info(row)?;
                catalog.add(info, row.read()?);
                let entry = catalog.get_mut(info.id)?;
                entry.bundled = row.read()?;
                entry.damaged = !row.next()?.is_null();
                Some(info.id)
            })?;
            last = rows.last().copied();
            count = count.saturating_add(rows.len());
            if rows.len() < PIECE as usize {
                return Ok(count);
            }
        }
    }

    /// Notes that a bundle holds a raw segment.
    pub(super) fn set_bundled(&self, id: SegmentId) -> Result<(), Failure> {
        let sql = "UPDATE objects SET bundled = ? WHERE level = ? AND min_txid = ? AND max_txid = ? AND bundled IS NULL";
        let [level, min, max] = key(id);
        self.run(sql, [now().into(), level, min, max])
    }

    /// Notes that an object is of no use.
    pub(super) fn set_damaged(&self, id: SegmentId) -> Result<(), Failure> {
        let sql = "UPDATE objects SET damaged = 1 WHERE level = ? AND min_txid = ? AND max_txid = ?";
        self.run(sql, key(id))
    }

    /// Takes an object out of every answer; it is still in the bucket.
    pub(super) fn leave(&self, id: SegmentId) -> Result<(), Failure> {
        let sql = "UPDATE objects SET leaving = 1 WHERE level = ? AND min_txid = ? AND max_txid = ?";
        self.run(sql, key(id))
    }

    /// Some of the objects that are on their way out.
    pub(super) fn leaving(&self) -> Result<Vec<SegmentId>, Failure> {
        let rows = self.text(
            &format!(
                "SELECT json_group_array(json_array({ID})) FROM (SELECT * FROM objects WHERE leaving IS NOT NULL LIMIT {PIECE})"
            ),
            [],
        )?;
        read_rows(rows, id)
    }

    /// A block of the page-sum table.
    pub(super) fn sum_block(&self, block: u32) -> Result<Option<Vec<u8>>, Failure> {
        let sql = "SELECT sums FROM page_sums WHERE block = ?";
        self.blob(sql, vec![i64::from(block).into()])
    }

    pub(super) fn set_sum_block(&self, block: u32, sums: Vec<u8>) -> Result<(), Failure> {
        let values = [i64::from(block).into(), sums.into()];
        self.run("INSERT OR REPLACE INTO page_sums VALUES (?, ?)", values)
    }

    /// Drops this block and those after it.
    pub(super) fn drop_sum_blocks(&self, from: u32) -> Result<(), Failure> {
        self.run("DELETE FROM page_sums WHERE block >= ?", [i64::from(from).into()])
    }

    /// A segment that ends there, one that tells the sum if there is one.
    pub(super) fn end_at(&self, txid: Txid) -> Result<Option<SegmentId>, Failure> {
        let row = self.text(
            &format!(
                "SELECT json_array({ID}) FROM objects WHERE max_txid = ? AND level <= 9 AND leaving IS NULL ORDER BY sum_after IS \
                 NULL, level LIMIT 1"
            ),
            [txid.to_string().into()],
        )?;
        row.map(|row| read_row(&row, id)).transpose()
    }

    fn run<const N: usize>(&self, sql: &str, values: [SqlStorageValue; N]) -> Result<(), Failure> {
        if self.is_blank()? {
            if !sql.starts_with("INSERT") {
                // There is nothing to change.
                return Ok(());
            }
            self.make_tables()?;
        }
        let _cursor = self.sql.exec(sql, Vec::from(values))?;
        count!("rows_written", _cursor.rows_written() as u64);
        Ok(())
    }

    /// The first value of the first row, if it is bytes.
    fn blob(&self, sql: &str, values: Vec<SqlStorageValue>) -> Result<Option<Vec<u8>>, Failure> {
        if self.is_blank()? {
            return Ok(None);
        }
        let cursor = self.sql.exec(sql, values)?;
        let row = cursor.raw().next().transpose()?;
        count!("rows_read", cursor.rows_read() as u64);
        Ok(match row.and_then(|row| row.into_iter().next()) {
            Some(SqlStorageValue::Blob(bytes)) => Some(bytes),
            _ => None,
        })
    }

    /// The first value of the first row, if it is a text.
    fn text<const N: usize>(
        &self,
        sql: &str,
        values: [SqlStorageValue; N],
    ) -> Result<Option<String>, Failure> {
        if self.is_blank()? {
            return Ok(None);
        }
        let cursor = self.sql.exec(sql, Vec::from(values))?;
        let row = cursor.raw().next().transpose()?;
        count!("rows_read", cursor.rows_read() as u64);
        Ok(match row.map(Vec::into_iter).and_then(|mut row| row.next()) {
            Some(SqlStorageValue::String(text)) => Some(text),
            _ => None,
        })
    }
}

impl State {
    pub(super) fn known(head: Head, intent: Option<Intent>) -> Self {
        Self::Known(head, head.tip, intent)
    }

    /// Whether it says nothing: of a bucket that was not looked at, or where nothing was.
    fn is_empty(&self) -> bool {
        match self {
            Self::Known(head, tip, intent) => *head == Head::EMPTY && tip.is_none() && intent.is_none(),
            Self::Rebuilding(start) => start.is_none(),
        }
    }

    /// A head leaves its tip out where it is told to clients.
    fn with_tip(self) -> Self {
        match self {
            Self::Known(head, tip, intent) => Self::Known(Head { tip, ..head }, tip, intent),
            other => other,
        }
    }
}

impl FromJson for State {
    fn from_json(json: Json<'_>) -> Option<Self> {
        let known = json.field("Known")?;
        if known.is_null() {
            return json.get("Rebuilding").map(Self::Rebuilding);
        }
        let mut known = known.list()?;
        Some(Self::Known(known.read()?, known.read()?, known.read()?))
    }
}

impl FromJson for Intent {
    fn from_json(json: Json<'_>) -> Option<Self> {
        Some(Self {
            id: json.get("id")?,
            size: json.get("size")?,
            checksum: json.get("checksum")?,
            header: json.get("header")?,
            multipart: json.get("multipart")?,
        })
    }
}

impl Intent {
    pub(super) fn new(
        id: SegmentId,
        size: u64,
        header: &Header,
        checksum: FileChecksum,
        multipart: Option<&str>,
    ) -> Self {
        Self {
            id,
            size,
            checksum: format!("{:016x}", checksum.0),
            header: super::r2::hex(&header.encode()),
            multipart: multipart.map(str::to_owned),
        }
    }

    pub(super) fn checksum(&self) -> Option<FileChecksum> {
        u64::from_str_radix(&self.checksum, 16).ok().map(FileChecksum)
    }

    /// What it creates.
    pub(super) fn found(&self) -> Option<Found> {
        let header = Header::parse(&super::r2::unhex(&self.header)?).ok()?;
        let info = SegmentInfo {
            id: self.id,
            size: self.size,
            timestamp: Some(header.timestamp),
        };
        Some(Found {
            info,
            header: Some(header),
        })
    }
}

fn key(id: SegmentId) -> [SqlStorageValue; 3] {
    [
        i64::from(u8::from(id.level)).into(),
        id.min.to_string().into(),
        id.max.to_string().into(),
    ]
}

/// What [`ID`] selects.
fn id(row: &mut List<'_>) -> Option<SegmentId> {
    Some(SegmentId {
        level: row.read()?,
        min: row.read()?,
        max: row.read()?,
    })
}

/// What [`INFO`] selects.
fn info(row: &mut List<'_>) -> Option<SegmentInfo> {
    Some(SegmentInfo {
        id: id(row)?,
        size: row.read()?,
        timestamp: row.read()?,
    })
}

fn integer(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn now() -> i64 {
    i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(not(feature = "fault-points"))]
fn max_segments() -> usize {
    MAX_SEGMENTS
}

/// Tests have no time to fill it.
#[cfg(feature = "fault-points")]
fn max_segments() -> usize {
    super::fault_points::max_segments().unwrap_or(MAX_SEGMENTS)
}

fn too_many() -> Failure {
    let most = max_segments();
    let message = format!("The replica has more than {most} segments: it needs compaction.");
    Failure::passing("replica_large", message)
}

/// Reads an array of rows.
fn read_rows<T>(
    rows: Option<String>,
    mut read: impl FnMut(&mut List<'_>) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let Some(rows) = rows else {
        return Ok(Vec::new());
    };
    read_row(&rows, |rows| rows.map(|row| read(&mut row.list()?)).collect())
}

fn read_row<T>(row: &str, read: impl FnOnce(&mut List<'_>) -> Option<T>) -> Result<T, Failure> {
    let row = Document::parse(row.as_bytes());
    let row = row.as_ref().and_then(|row| read(&mut row.root().list()?));
    row.ok_or_else(unreadable)
}

fn unreadable() -> Failure {
    let message = "The object's storage holds what cannot be read.";
    Failure::passing("storage_unavailable", message)
}
