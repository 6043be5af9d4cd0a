//! Files that crash: what was not flushed survives in part, in any order, torn.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::browser::database::Files;
use crate::browser::file::{Error, File, Result};

/// The power that all files of a copy depend on.
#[derive(Debug, Default)]
pub(super) struct Power {
    /// Steps until it fails; `None`: it does not.
    pub(super) left: Cell<Option<u32>>,
    pub(super) steps: Cell<u32>,
}

impl Power {
    fn step(&self) -> Result<()> {
        self.steps.set(self.steps.get() + 1);
        match self.left.get() {
            Some(0) => Err(Error::Failed {
                what: "anything".to_owned(),
                why: "the power has failed".to_owned(),
            }),
            Some(left) => {
                self.left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    power: Rc<Power>,
    durable: RefCell<Vec<u8>>,
    /// What readers see.
    seen: RefCell<Vec<u8>>,
    unflushed: RefCell<Vec<Change>>,
}

pub(super) fn files(power: &Rc<Power>) -> Files<Rc<Disk>> {
    let disk = || {
        Rc::new(Disk {
            power: power.clone(),
            ..Disk::default()
        })
    };
    Files {
        db: disk(),
        position: disk(),
        redo: disk(),
        present: disk(),
    }
}

/// A number below so many, another each time, by a seed.
pub(super) fn coin(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut random = seed | 1;
    move |sides| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % u64::from(sides)) as u32
    }
}

impl Disk {
    /// After a crash: `coin` says of each unflushed change whether it survives, and how much of a write.
    pub(super) fn crash(&self, coin: &mut impl FnMut(u32) -> u32) {
        let mut durable = self.durable.borrow_mut();
        for change in self.unflushed.take() {
            match (coin(3), change) {
                (0, _) => {}
                (1, Change::Write(at, data)) => {
                    let kept = coin(data.len() as u32 + 1) as usize;
                    perform(&mut durable, &Change::Write(at, data[..kept].to_vec()));
                }
                (_, change) => perform(&mut durable, &change),
            }
        }
        *self.seen.borrow_mut() = durable.clone();
    }

    fn change(&self, change: Change) -> Result<()> {
        self.power.step()?;
        perform(&mut self.seen.borrow_mut(), &change);
        self.unflushed.borrow_mut().push(change);
        Ok(())
    }
}

fn perform(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, data) => {
            let (start, end) = (*at as usize, *at as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
        Change::Truncate(size) => bytes.resize(*size as usize, 0),
    }
}

impl File for Rc<Disk> {
    fn size(&self) -> Result<u64> {
        Ok(self.seen.borrow().len() as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let seen = self.seen.borrow();
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }

    fn truncate(&self, size: u64) -> Result<()> {
        self.change(Change::Truncate(size))
    }

    fn flush(&self) -> Result<()> {
        self.power.step()?;
        self.unflushed.borrow_mut().clear();
        self.durable.borrow_mut().clone_from(&self.seen.borrow());
        Ok(())
    }
}
