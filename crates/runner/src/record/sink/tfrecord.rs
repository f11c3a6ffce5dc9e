//! A reader of TensorBoard event files, for tests: written from the format's description, apart from tensorboard-rs.
//!
//! A file is a sequence of `length: u64, crc(length): u32, data, crc(data): u32`, little endian, where crc is CRC-32C, masked:
//! `rotate_right(crc, 15) + 0xa282ead8`. Data is a protobuf `Event { 1: wall_time double, 2: step int64, 3: file_version string,
//! 5: Summary { 1: repeated Value { 1: tag string, 2: simple_value float, 4: Image { 1: height, 2: width, 3: colorspace, 4: bytes } } } }`.

use std::fs;
use std::path::Path;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Event {
    pub(super) step: u64,
    pub(super) version: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) value: Option<f32>,
    /// Width, height, PNG.
    pub(super) image: Option<(u64, u64, Vec<u8>)>,
}

enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

pub(super) fn read_events(path: &Path) -> Result<Vec<Event>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length_bytes = take(&mut rest, 8)?;
        check(length_bytes, take(&mut rest, 4)?)?;
        let length = u64::from_le_bytes(length_bytes.try_into().map_err(|_| "length")?) as usize;
        let data = take(&mut rest, length)?;
        check(data, take(&mut rest, 4)?)?;
        events.push(event(data)?);
    }
    Ok(events)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (head, tail) = rest.split_at_checked(count).ok_or("the file ends within a record")?;
    *rest = tail;
    Ok(head)
}

fn check(data: &[u8], stored: &[u8]) -> Result<(), String> {
    let masked = crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8);
    if masked.to_le_bytes() == stored { Ok(()) } else { Err("checksum".to_owned()) }
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

fn event(data: &[u8]) -> Result<Event, String> {
    let mut event = Event::default();
    for (number, field) in fields(data)? {
        match (number, field) {
            (2, Field::Varint(step)) => event.step = step,
            (3, Field::Bytes(text)) => event.version = Some(String::from_utf8_lossy(text).into_owned()),
            (5, Field::Bytes(summary)) => summary_value(summary, &mut event)?,
            _ => {}
        }
    }
    Ok(event)
}

fn summary_value(summary: &[u8], event: &mut Event) -> Result<(), String> {
    for (_, field) in fields(summary)? {
        let Field::Bytes(value) = field else { return Err("a summary's value is a message".to_owned()) };
        for (number, field) in fields(value)? {
            match (number, field) {
                (1, Field::Bytes(tag)) => event.tag = Some(String::from_utf8_lossy(tag).into_owned()),
                (2, Field::Fixed32(bits)) => event.value = Some(f32::from_bits(bits)),
                (4, Field::Bytes(image)) => event.image = Some(picture(image)?),
                _ => {}
            }
        }
    }
    Ok(())
}

fn picture(data: &[u8]) -> Result<(u64, u64, Vec<u8>), String> {
    let (mut width, mut height, mut png) = (0, 0, Vec::new());
    for (number, field) in fields(data)? {
        match (number, field) {
            (1, Field::Varint(value)) => height = value,
            (2, Field::Varint(value)) => width = value,
            (4, Field::Bytes(bytes)) => png = bytes.to_vec(),
            _ => {}
        }
    }
    Ok((width, height, png))
}

fn fields(mut data: &[u8]) -> Result<Vec<(u64, Field<'_>)>, String> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data)?;
        let field = match key & 7 {
            0 => Field::Varint(varint(&mut data)?),
            1 => {
                take(&mut data, 8)?;
                Field::Fixed64
            }
            2 => {
                let length = varint(&mut data)? as usize;
                Field::Bytes(take(&mut data, length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(take(&mut data, 4)?.try_into().map_err(|_| "fixed32")?)),
            other => return Err(format!("wire type {other}")),
        };
        found.push((key >> 3, field));
    }
    Ok(found)
}

fn varint(data: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(data, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a varint does not end".to_owned())
}

#[test]
fn the_checksum_of_the_standard_check_string() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
