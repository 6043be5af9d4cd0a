//! The rows of a statement, a batch at a time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::future::LocalBoxFuture;

use super::{Fault, Parameters, Reader, Sink, bind, hand};
use crate::browser::Error;
use crate::browser::image::Image;

/// A statement that is being read. As long as it is, no other state is applied.
#[expect(missing_debug_implementations, reason = "nothing to be seen")]
pub struct Cursor<S> {
    /// Goes on while there is room in the batch; over with the last row.
    reading: Option<LocalBoxFuture<'static, Result<(), Error>>>,
    batch: Rc<RefCell<Batch<S>>>,
}

struct Batch<S> {
    sink: S,
    room: usize,
}

impl<S: Sink + Default + 'static> Cursor<S> {
    /// Of one statement, after its first `skip` rows. Nothing is done before the first batch is asked for.
    pub fn new<I: Image + 'static>(
        reader: Rc<Reader<I>>,
        sql: String,
        parameters: Parameters,
        skip: usize,
    ) -> Self {
        let batch = Rc::new(RefCell::new(Batch {
            sink: S::default(),
            room: 0,
        }));
        let filled = batch.clone();
        let reading = async move {
            let result = read(&reader, &sql, &parameters, skip, &filled).await;
            result.map_err(|fault| reader.told(fault))
        };
        Self {
            reading: Some(Box::pin(reading)),
            batch,
        }
    }

    /// The next rows, at most so many, and whether they are the last. The columns are told with the first.
    pub fn next(&mut self, count: usize) -> Result<(S, bool), Error> {
        self.batch.borrow_mut().room = count;
        let mut context = Context::from_waker(Waker::noop());
        let polled = self
            .reading
            .as_mut()
            .map(|reading| reading.as_mut().poll(&mut context));
        let is_over = match polled {
            Some(Poll::Pending) => false,
            Some(Poll::Ready(result)) => {
                self.reading = None;
                result?;
                true
            }
            None => true,
        };
        Ok((std::mem::take(&mut self.batch.borrow_mut().sink), is_over))
    }
}

async fn read<I: Image, S: Sink>(
    reader: &Reader<I>,
    sql: &str,
    parameters: &Parameters,
    skip: usize,
    batch: &RefCell<Batch<S>>,
) -> Result<(), Fault> {
    let mut statement = reader.prepare(sql)?;
    bind(&mut statement, parameters)?;
    batch
        .borrow_mut()
        .sink
        .columns(&statement.column_names().collect::<Vec<_>>());
    let count = statement.column_count();
    let mut rows = statement.raw_query();
    for _ in 0..skip {
        rows.next()?;
    }
    while let Some(row) = rows.next()? {
        poll_fn(|_| match batch.borrow().room {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        let mut batch = batch.borrow_mut();
        batch.room = batch.room.saturating_sub(1);
        hand(row, count, &mut batch.sink)?;
    }
    Ok(())
}
