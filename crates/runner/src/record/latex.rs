//! Text for LaTeX.

/// The text with everything escaped that LaTeX would read as its own; `` `code` `` and `**strong**` of markdown become
/// commands, and the signs of our tables become what any LaTeX engine prints.
pub(crate) fn latex(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let (mut code, mut strong) = (false, false);
    let mut at = 0;
    while at < characters.len() {
        let (before, here, next) =
            (at.checked_sub(1).map(|at| characters[at]), characters[at], characters.get(at + 1).copied());
        match here {
            '`' => toggle(&mut code, "\\texttt{", &mut out),
            '*' if next == Some('*') => {
                toggle(&mut strong, "\\textbf{", &mut out);
                at += 1;
            }
            '-' if is_sign(before, next) => out.push_str("$-$"),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            // After a line break of a table LaTeX takes a bracket for an option.
            '[' | ']' => out.extend(['{', here, '}']),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', here]),
            '±' => out.push_str("$\\pm$"),
            '−' => out.push_str("$-$"),
            '–' => out.push_str("--"),
            '†' => out.push_str("\\dag{}"),
            '‡' => out.push_str("\\ddag{}"),
            '⁺' => out.push_str("$^{+}$"),
            '⁻' => out.push_str("$^{-}$"),
            other => out.push(other),
        }
        at += 1;
    }
    out.extend([code, strong].iter().filter(|open| **open).map(|_| '}'));
    out
}

fn toggle(open: &mut bool, command: &str, out: &mut String) {
    out.push_str(if *open { "}" } else { command });
    *open = !*open;
}

/// Whether a hyphen is the sign of a number.
fn is_sign(before: Option<char>, next: Option<char>) -> bool {
    next.is_some_and(|next| next.is_ascii_digit()) && before.is_none_or(|before| matches!(before, ' ' | '(' | '['))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_latex_reads_as_its_own_is_escaped() {
        assert_eq!(
            latex(r"50 % & _a_ #1 {x} $y$ ~ ^ \z"),
            r"50 \% \& \_a\_ \#1 \{x\} \$y\$ \textasciitilde{} \textasciicircum{} \textbackslash{}z"
        );
        assert_eq!(latex("a<b>c|d"), r"a\textless{}b\textgreater{}c\textbar{}d");
        assert_eq!(latex("14.59 [1]"), "14.59 {[}1{]}");
    }

    #[test]
    fn signs_of_our_tables_become_commands() {
        assert_eq!(latex("91.20 ± 0.31"), r"91.20 $\pm$ 0.31");
        assert_eq!(latex("-0.07 (-1) W4-A4 1.3e-4 – n − 1"), r"$-$0.07 ($-$1) W4-A4 1.3e-4 -- n $-$ 1");
        assert_eq!(latex("real† best‡ 2.0⁺ 3.0⁻"), r"real\dag{} best\ddag{} 2.0$^{+}$ 3.0$^{-}$");
    }

    #[test]
    fn code_and_strong_words_become_commands_and_always_end() {
        assert_eq!(latex("**a_b**: teacher `x_1`"), r"\textbf{a\_b}: teacher \texttt{x\_1}");
        assert_eq!(latex("`open"), r"\texttt{open}");
        assert_eq!(latex("2 * 3"), "2 * 3");
    }
}
