//! `records.json` with arbitrary text: a reader that keeps some rows has the same ones as a reader that keeps all, and
//! every row has the fields by which it is looked up.
#![no_main]

use boshy_records::Records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(all) = Records::read(text) else { return };
    assert!(all.unreadable.len() <= all.unreadable_rows);
    assert!(all.rows.iter().all(|row| !row.id.is_empty()));
    if let Some(first) = all.rows.first() {
        let same = Records::read_where(text, |row| row.id == first.id).expect("was read a moment ago");
        let wanted: Vec<_> = all.rows.iter().filter(|row| row.id == first.id).cloned().collect();
        assert_eq!(same.rows, wanted);
    }
});
