package io.authsvc.client;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259), read more strictly than most libraries do: UTF-8 without BOM, a name occurs once in an object at any depth,
 * a whole number is told from a fraction by its spelling, and halves of surrogate pairs stay visible.
 *
 * <p>Values are Map, List, String, {@link Whole}, Double, Boolean and null. Strings may hold lone surrogates: {@link
 * #isText} tells.
 */
final class Json {
    /** A number without fraction and exponent, as it is spelled. */
    record Whole(String digits) {}

    /** The text is not JSON as it is read here. */
    static final class Malformed extends Exception {
        private static final long serialVersionUID = 1;

        Malformed() {
            super("not JSON", null, false, false);
        }
    }

    // Tokens of ours have 2 levels; the bound keeps recursion off the stack's end.
    private static final int MAX_DEPTH = 512;

    private final String text;
    private int at;
    private int depth;

    private Json(String text) {
        this.text = text;
    }

    /**
     * Returns the members of the one object that the bytes are.
     *
     * @throws Malformed if they are anything else
     */
    static Map<String, Object> object(byte[] raw) throws Malformed {
        if (raw.length >= 3 && raw[0] == (byte) 0xEF && raw[1] == (byte) 0xBB && raw[2] == (byte) 0xBF) {
            throw new Malformed();
        }
        try {
            // A fresh decoder reports what it cannot read; String's own replaces it.
            return object(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw)).toString());
        } catch (CharacterCodingException e) {
            throw new Malformed();
        }
    }

    static Map<String, Object> object(String text) throws Malformed {
        Json json = new Json(text);
        json.space();
        if (json.peek() != '{') {
            throw new Malformed();
        }
        Map<String, Object> members = json.object();
        json.space();
        if (json.at != text.length()) {
            throw new Malformed();
        }
        return members;
    }

    /** Tells whether a value is a string of whole characters. */
    static boolean isText(Object value) {
        if (!(value instanceof String string)) {
            return false;
        }
        for (int i = 0; i < string.length(); i++) {
            char c = string.charAt(i);
            if (Character.isSurrogate(c)) {
                boolean pair = Character.isHighSurrogate(c)
                        && i + 1 < string.length()
                        && Character.isLowSurrogate(string.charAt(i + 1));
                if (!pair) {
                    return false;
                }
                i++;
            }
        }
        return true;
    }

    /** Returns the next character; NUL at the end, which is no character of JSON outside of strings. */
    private char peek() {
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean take(char wanted) {
        if (peek() != wanted) {
            return false;
        }
        at++;
        return true;
    }

    private void need(char wanted) throws Malformed {
        if (!take(wanted)) {
            throw new Malformed();
        }
    }

    private void space() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private Object value() throws Malformed {
        space();
        switch (peek()) {
            case '"':
                return string();
            case '{':
                return object();
            case '[':
                return array();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Object word(String word, Object value) throws Malformed {
        if (!text.startsWith(word, at)) {
            throw new Malformed();
        }
        at += word.length();
        return value;
    }

    private void enter() throws Malformed {
        if (++depth > MAX_DEPTH) {
            throw new Malformed();
        }
    }

    private Map<String, Object> object() throws Malformed {
        need('{');
        enter();
        Map<String, Object> members = new LinkedHashMap<>();
        space();
        if (!take('}')) {
            do {
                space();
                String name = string();
                space();
                need(':');
                if (members.containsKey(name)) {
                    throw new Malformed();
                }
                members.put(name, value());
                space();
            } while (take(','));
            need('}');
        }
        depth--;
        return members;
    }

    private List<Object> array() throws Malformed {
        need('[');
        enter();
        List<Object> items = new ArrayList<>();
        space();
        if (!take(']')) {
            do {
                items.add(value());
                space();
            } while (take(','));
            need(']');
        }
        depth--;
        return items;
    }

    private Object number() throws Malformed {
        int from = at;
        take('-');
        if (!take('0')) {
            digits();
        }
        boolean whole = true;
        if (take('.')) {
            whole = false;
            digits();
        }
        if (take('e') || take('E')) {
            whole = false;
            if (!take('+')) {
                take('-');
            }
            digits();
        }
        String spelled = text.substring(from, at);
        return whole ? new Whole(spelled) : (Object) Double.valueOf(spelled);
    }

    private void digits() throws Malformed {
        int from = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        if (at == from) {
            throw new Malformed();
        }
    }

    private String string() throws Malformed {
        need('"');
        int from = at;
        StringBuilder content = null; // until the first escape the text itself is the content
        while (at < text.length()) {
            char c = text.charAt(at++);
            if (c == '"') {
                return content == null ? text.substring(from, at - 1) : content.toString();
            }
            if (c < 0x20) {
                break;
            }
            if (c == '\\') {
                if (content == null) {
                    content = new StringBuilder().append(text, from, at - 1);
                }
                content.append(escape());
            } else if (content != null) {
                content.append(c);
            }
        }
        throw new Malformed();
    }

    private char escape() throws Malformed {
        char c = peek();
        at++;
        switch (c) {
            case '"', '\\', '/':
                return c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                return unit();
            default:
                throw new Malformed();
        }
    }

    private char unit() throws Malformed {
        int unit = 0;
        for (int i = 0; i < 4; i++) {
            char c = peek();
            // Character.digit alone would take digits of every script.
            int digit = c < 128 ? Character.digit(c, 16) : -1;
            if (digit < 0) {
                throw new Malformed();
            }
            unit = unit << 4 | digit;
            at++;
        }
        return (char) unit;
    }
}
