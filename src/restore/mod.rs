//! Turns a replica in a store back into a database, and proves the result.
