//! Text as HTML, and files within a page.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A part of the page with a heading, which the navigation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// HTML.
    pub(super) body: String,
}

impl Section {
    pub(super) fn to_html(&self) -> String {
        let Self { id, title, body } = self;
        format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}\n</section>\n")
    }
}

/// The text with everything escaped that HTML would read as its own, within elements and within quoted attributes.
/// Control characters, which HTML does not have, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            character if character.is_control() => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}

/// A file of that media type as an address that holds it whole.
pub(super) fn data_uri(media: &str, bytes: &[u8]) -> String {
    format!("data:{media};base64,{}", base64(bytes))
}

/// RFC 4648, section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| group.get(at).copied().unwrap_or(0));
        let bits = (u32::from(a) << 16) | (u32::from(b) << 8) | u32::from(c);
        for place in 0..4 {
            let digit = BASE64[((bits >> (18 - 6 * place)) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Names with what is said of each, as HTML.
pub(super) fn definitions(rows: &[(&str, String)]) -> String {
    let rows: String = rows.iter().map(|(name, html)| format!("<dt>{}</dt><dd>{html}</dd>\n", escape(name))).collect();
    format!("<dl>\n{rows}</dl>\n")
}

/// What unfolds when its name is clicked.
pub(super) fn fold(name: &str, html: &str) -> String {
    format!("<details><summary>{}</summary>\n{html}\n</details>\n", escape(name))
}

/// A paragraph in a soft colour.
pub(super) fn aside(text: &str) -> String {
    format!("<p class=\"soft small\">{}</p>\n", escape(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4648() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(data_uri("image/png", &[0xfb, 0xff]), "data:image/png;base64,+/8=");
    }

    #[test]
    fn nothing_of_the_text_is_read_as_html() {
        assert_eq!(escape("<b a=\"'\">&amp;\u{1b}[0m\n"), "&lt;b a=&quot;&#39;&quot;&gt;&amp;amp;\u{fffd}[0m\n");
        assert_eq!(definitions(&[("a<b", "<i>c</i>".into())]), "<dl>\n<dt>a&lt;b</dt><dd><i>c</i></dd>\n</dl>\n");
        assert!(fold("<x>", "<p>y</p>").contains("<summary>&lt;x&gt;</summary>\n<p>y</p>"));
    }
}
