//! A database file on its way, in one request or in several.
//!
//! What has come is cut at once, and is kept byte for byte: a part that breaks off counts as far as it came, and the next
//! one goes on there. Nothing is visible before the last byte. If the object forgets (it restarts, or others need the
//! memory), the file is sent again from its start.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::segment::Cut;
use crate::ltx::{PageSize, Pgno, Txid};
use crate::replica::Position;
use crate::wal::Cursor;
use crate::worker::body::Body;
use crate::worker::failure::Failure;
use crate::worker::gate::Permit;
use crate::worker::parts::misplaced;
use crate::worker::replica::Replica;

/// The upload of a file that is under way, if one is.
#[derive(Clone, Debug, Default)]
pub(in crate::worker) struct Underway {
    upload: Rc<RefCell<Option<Upload>>>,
    /// How many there were.
    turns: Rc<Cell<u64>>,
}

/// What a client says of a file: the same with each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) size: u64,
    pub(super) after: Txid,
    pub(super) page_size: PageSize,
    pub(super) cursor: Option<Cursor>,
}

#[derive(Debug)]
pub(super) struct Upload {
    pub(super) file: File,
    pub(super) cut: Cut,
    /// Of the memory for all of it, also between the parts.
    permit: Permit,
    /// Bytes that have come.
    offset: u64,
    last: Pgno,
    /// The start of the next page.
    rest: Vec<u8>,
    /// Whose turn it is: a request that comes later takes over.
    turn: Turn,
    /// False while bytes are cut, and for ever if that failed.
    is_sound: bool,
}

/// A request that goes on with an upload; no two are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn(u64);

impl Upload {
    pub(super) fn new(file: File, cut: Cut, permit: Permit) -> Self {
        Self {
            file,
            cut,
            permit,
            offset: 0,
            last: Pgno(0),
            rest: Vec::new(),
            turn: Turn::default(),
            is_sound: true,
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.permit.renew();
        self.is_sound = false;
        self.rest.extend_from_slice(bytes);
        let page_size = self.file.page_size;
        let pages = self.rest.chunks_exact(page_size.len());
        let rest = pages.remainder().to_vec();
        for page in pages {
            self.last = Pgno(self.last.0.saturating_add(1));
            if self.last != page_size.lock_page() {
                self.cut.page(self.last, page)?;
            }
        }
        self.rest = rest;
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        self.is_sound = true;
        Ok(())
    }
}

impl Underway {
    /// Ends what is under way.
    pub(super) async fn end(&self, replica: &Replica) {
        let upload = self.upload.take();
        if let Some(upload) = upload {
            upload.cut.abort(replica).await;
        }
    }

    /// Begins one, in place of another.
    pub(super) async fn begin(&self, replica: &Replica, upload: Upload) -> Turn {
        self.end(replica).await;
        let turn = self.turn();
        self.upload.replace(Some(Upload { turn, ..upload }));
        turn
    }

    /// Goes on with the one that stands there: the file is the same, and the replica has not moved.
    pub(super) async fn go_on(
        &self,
        replica: &Replica,
        position: Position,
        offset: u64,
        is_same: impl Fn(&File) -> bool,
    ) -> Result<Turn, Failure> {
        let stale = self
            .upload
            .borrow_mut()
            .take_if(|upload| upload.cut.position() != position);
        if let Some(stale) = stale {
            stale.cut.abort(replica).await;
            let why = "it moved while a database file was on its way; send that from its start";
            return Err(Failure::position_mismatch(position, why));
        }
        let mut place = self.upload.borrow_mut();
        let known = place.as_mut().filter(|upload| is_same(&upload.file));
        let expected = known.as_ref().map_or(0, |upload| upload.offset);
        let Some(upload) = known.filter(|upload| upload.offset == offset) else {
            return Err(misplaced(expected, offset));
        };
        upload.turn = self.turn();
        Ok(upload.turn)
    }

    /// Takes in what comes; returns how far the file has come.
    pub(super) async fn feed(
        &self,
        replica: &Replica,
        turn: Turn,
        start: &[u8],
        body: &mut Body,
    ) -> Result<u64, Failure> {
        self.with(turn, |upload| upload.push(start))?;
        loop {
            while let Some(due) = self.with(turn, |upload| Ok(upload.cut.due()))? {
                let answer = due.send(replica).await?;
                self.with(turn, |upload| {
                    upload.cut.sent(answer);
                    Ok(())
                })?;
            }
            match body.next().await? {
                Some(chunk) => self.with(turn, |upload| upload.push(&chunk))?,
                None => return self.with(turn, |upload| Ok(upload.offset)),
            }
        }
    }

    /// Takes it out, to be ended; `None` if another request has gone on with it.
    pub(super) fn take(&self, turn: Turn) -> Option<Upload> {
        self.upload.borrow_mut().take_if(|upload| upload.turn == turn)
    }

    /// The same if it can not be gone on with.
    pub(super) fn take_unsound(&self, turn: Turn) -> Option<Upload> {
        let mut place = self.upload.borrow_mut();
        place.take_if(|upload| upload.turn == turn && !upload.is_sound)
    }

    /// Forgets it when its memory is needed. R2 forgets its parts after some days.
    pub(super) fn give_up(&self) -> Box<dyn FnOnce()> {
        let place = Rc::downgrade(&self.upload);
        Box::new(move || drop(place.upgrade().and_then(|place| place.take())))
    }

    fn turn(&self) -> Turn {
        self.turns.set(self.turns.get().wrapping_add(1));
        Turn(self.turns.get())
    }

    fn with<T>(
        &self,
        turn: Turn,
        then: impl FnOnce(&mut Upload) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut place = self.upload.borrow_mut();
        match place.as_mut().filter(|upload| upload.turn == turn) {
            Some(upload) => then(upload),
            None => Err(Failure::passing(
                "upload_under_way",
                "Another request has gone on with this upload, or others needed its memory; ask where it goes on.",
            )),
        }
    }
}
