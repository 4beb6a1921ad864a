//! Passwords that nobody has to think of.

use super::types::Password;

/// Letters and digits without those that look alike (`0O`, `1Il`): passwords are read from screens and typed.
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

const LENGTH: usize = 24;

impl Password {
    /// A new password of 24 characters, 139 bits, that needs quoting nowhere.
    ///
    /// # Errors
    ///
    /// When the operating system gives no random bytes.
    pub fn generate() -> anyhow::Result<Self> {
        from_source(|bytes| {
            getrandom::fill(bytes)
                .map_err(|error| anyhow::anyhow!("failed to read random bytes for a password: {error}"))
        })
    }
}

fn from_source(mut fill: impl FnMut(&mut [u8]) -> anyhow::Result<()>) -> anyhow::Result<Password> {
    // Bytes from here up would make the first letters of the alphabet likelier than the others.
    let fair = usize::from(u8::MAX) / ALPHABET.len() * ALPHABET.len();
    let mut text = String::with_capacity(LENGTH);
    let mut bytes = [0u8; 2 * LENGTH];
    while text.len() < LENGTH {
        fill(&mut bytes)?;
        let letters = bytes.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
        let letters = letters.map(|b| char::from(ALPHABET[b % ALPHABET.len()]));
        text.extend(letters.take(LENGTH - text.len()));
    }
    Ok(Password::made(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn generated_passwords_differ_and_suit_every_flavor() {
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            let password = Password::generate().expect("random bytes");
            assert_eq!(password.reveal().len(), LENGTH);
            assert!(!password.reveal().contains(['0', 'O', '1', 'I', 'l']));
            assert_eq!(password.check_crunchy(), Ok(()));
            assert_eq!(password.reveal().parse(), Ok(password.clone()));
            assert!(seen.insert(password.reveal().to_owned()));
        }
    }

    #[test]
    fn unfair_bytes_are_left_out() {
        let mut next = 200u8;
        let password = from_source(|bytes| {
            for byte in bytes {
                next = next.wrapping_add(1);
                *byte = next;
            }
            Ok(())
        });
        // 201..=227 are the last of the fair bytes, 228..=255 are left out.
        let expected: String = (201..225).map(|b: usize| char::from(ALPHABET[b % ALPHABET.len()])).collect();
        assert_eq!(password.expect("a password").reveal(), expected);
        let password = from_source(|bytes| {
            bytes.fill(if bytes[0] == 255 { 0 } else { 255 });
            Ok(())
        });
        assert_eq!(password.expect("a password").reveal(), "2".repeat(LENGTH));
        assert!(from_source(|_| anyhow::bail!("no entropy")).is_err());
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let fair = usize::from(u8::MAX) / ALPHABET.len() * ALPHABET.len();
        assert_eq!(fair % ALPHABET.len(), 0);
        assert_eq!(fair, 228);
        assert_eq!(ALPHABET.iter().collect::<BTreeSet<_>>().len(), ALPHABET.len());
    }
}
