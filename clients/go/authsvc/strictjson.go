package authsvc

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON of tokens, read more strictly than encoding/json reads it: UTF-8 without BOM, a name occurs once in an
// object, at any depth, numbers keep their spelling, and a lone surrogate is told apart (encoding/json replaces it).

// maxDepth bounds nesting. Tokens of ours have 2 levels; the bound keeps recursion off the stack's end.
const maxDepth = 512

var errJSON = errors.New("authsvc: not the JSON of a token")

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonInteger
	jsonFloat
	jsonString
	jsonArray
	jsonObject
)

// jsonValue is one value. text holds a string's content (lone surrogates in their three-byte form, and then lone is
// true) or an integer's spelling; items holds the elements of an array. Inner objects are checked and forgotten.
type jsonValue struct {
	kind  jsonKind
	lone  bool
	text  string
	items []jsonValue
}

type jsonMember struct {
	name  string
	value jsonValue
}

type jsonReader struct {
	text string
	at   int
	// Values below the members of the outermost object are not kept, unless they are elements of its arrays.
	depth int
}

// parseObject returns the members of the one object that raw is.
func parseObject(raw []byte, members []jsonMember) ([]jsonMember, error) {
	if len(raw) >= 3 && raw[0] == 0xEF && raw[1] == 0xBB && raw[2] == 0xBF {
		return nil, errJSON
	}
	if !utf8.Valid(raw) {
		return nil, errJSON
	}
	reader := jsonReader{text: string(raw)}
	reader.space()
	members, ok := reader.object(members)
	if !ok {
		return nil, errJSON
	}
	reader.space()
	if reader.at != len(reader.text) {
		return nil, errJSON
	}
	return members, nil
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// take moves over one byte if it comes next.
func (r *jsonReader) take(want byte) bool {
	if r.at < len(r.text) && r.text[r.at] == want {
		r.at++
		return true
	}
	return false
}

// enter counts a level down; the caller counts it up again.
func (r *jsonReader) enter() bool {
	r.depth++
	return r.depth <= maxDepth
}

func (r *jsonReader) object(members []jsonMember) ([]jsonMember, bool) {
	if !r.take('{') || !r.enter() {
		return nil, false
	}
	defer func() { r.depth-- }()
	r.space()
	if r.take('}') {
		return members, true
	}
	// Objects of a token are small; only a hostile one has enough names for a map to pay.
	var seen map[string]struct{}
	for {
		r.space()
		name, _, ok := r.string()
		if !ok {
			return nil, false
		}
		if seen == nil && len(members) == 32 {
			seen = make(map[string]struct{}, 64)
			for i := range members {
				seen[members[i].name] = struct{}{}
			}
		}
		if seen != nil {
			if _, twice := seen[name]; twice {
				return nil, false
			}
			seen[name] = struct{}{}
		} else {
			for i := range members {
				if members[i].name == name {
					return nil, false
				}
			}
		}
		r.space()
		if !r.take(':') {
			return nil, false
		}
		value, ok := r.value()
		if !ok {
			return nil, false
		}
		members = append(members, jsonMember{name, value})
		r.space()
		if r.take('}') {
			return members, true
		}
		if !r.take(',') {
			return nil, false
		}
	}
}

func (r *jsonReader) value() (jsonValue, bool) {
	r.space()
	if r.at == len(r.text) {
		return jsonValue{}, false
	}
	switch r.text[r.at] {
	case '"':
		text, lone, ok := r.string()
		return jsonValue{kind: jsonString, text: text, lone: lone}, ok
	case '{':
		_, ok := r.object(nil)
		return jsonValue{kind: jsonObject}, ok
	case '[':
		return r.array()
	case 't':
		return jsonValue{kind: jsonBool}, r.word("true")
	case 'f':
		return jsonValue{kind: jsonBool}, r.word("false")
	case 'n':
		return jsonValue{kind: jsonNull}, r.word("null")
	default:
		return r.number()
	}
}

func (r *jsonReader) array() (jsonValue, bool) {
	r.at++
	if !r.enter() {
		return jsonValue{}, false
	}
	defer func() { r.depth-- }()
	array := jsonValue{kind: jsonArray}
	r.space()
	if r.take(']') {
		return array, true
	}
	for {
		item, ok := r.value()
		if !ok {
			return array, false
		}
		array.items = append(array.items, item)
		r.space()
		if r.take(']') {
			return array, true
		}
		if !r.take(',') {
			return array, false
		}
	}
}

func (r *jsonReader) word(word string) bool {
	if len(r.text)-r.at < len(word) || r.text[r.at:r.at+len(word)] != word {
		return false
	}
	r.at += len(word)
	return true
}

func (r *jsonReader) digits() bool {
	from := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > from
}

// number reads RFC 8259's number; what has neither fraction nor exponent is an integer.
func (r *jsonReader) number() (jsonValue, bool) {
	from := r.at
	r.take('-')
	if !r.take('0') && !r.digits() {
		return jsonValue{}, false
	}
	kind := jsonInteger
	if r.take('.') {
		kind = jsonFloat
		if !r.digits() {
			return jsonValue{}, false
		}
	}
	if r.take('e') || r.take('E') {
		kind = jsonFloat
		if !r.take('+') {
			r.take('-')
		}
		if !r.digits() {
			return jsonValue{}, false
		}
	}
	return jsonValue{kind: kind, text: r.text[from:r.at]}, true
}

// string reads a string; lone tells whether it holds half a surrogate pair.
func (r *jsonReader) string() (text string, lone, ok bool) {
	if !r.take('"') {
		return "", false, false
	}
	from := r.at
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			text = r.text[from:r.at]
			r.at++
			return text, false, true
		case c == '\\':
			return r.escaped(from)
		case c < ' ':
			return "", false, false
		default:
			r.at++
		}
	}
	return "", false, false
}

// escaped goes on with a string that has escapes, from the first of them.
func (r *jsonReader) escaped(from int) (text string, lone, ok bool) {
	content := append(make([]byte, 0, r.at-from+32), r.text[from:r.at]...)
	for r.at < len(r.text) {
		c := r.text[r.at]
		r.at++
		switch {
		case c == '"':
			return string(content), lone, true
		case c < ' ':
			return "", false, false
		case c != '\\':
			content = append(content, c)
			continue
		}
		if r.at == len(r.text) {
			return "", false, false
		}
		c = r.text[r.at]
		r.at++
		switch c {
		case '"', '\\', '/':
			content = append(content, c)
		case 'b':
			content = append(content, '\b')
		case 'f':
			content = append(content, '\f')
		case 'n':
			content = append(content, '\n')
		case 'r':
			content = append(content, '\r')
		case 't':
			content = append(content, '\t')
		case 'u':
			unit, valid := r.hex4()
			if !valid {
				return "", false, false
			}
			if utf16.IsSurrogate(unit) {
				unit = r.pair(unit)
			}
			if utf16.IsSurrogate(unit) {
				lone = true
				content = append(content, 0xE0|byte(unit>>12), 0x80|byte(unit>>6)&0x3F, 0x80|byte(unit)&0x3F)
			} else {
				content = utf8.AppendRune(content, unit)
			}
		default:
			return "", false, false
		}
	}
	return "", false, false
}

// pair returns the character of a surrogate pair whose first half was just read, or that half if no second follows.
func (r *jsonReader) pair(first rune) rune {
	if first >= 0xDC00 || r.at+1 >= len(r.text) || r.text[r.at] != '\\' || r.text[r.at+1] != 'u' {
		return first
	}
	back := r.at
	r.at += 2
	second, valid := r.hex4()
	if valid && second >= 0xDC00 && second <= 0xDFFF {
		return utf16.DecodeRune(first, second)
	}
	r.at = back
	return first
}

func (r *jsonReader) hex4() (rune, bool) {
	if len(r.text)-r.at < 4 {
		return 0, false
	}
	var unit rune
	for range 4 {
		c := r.text[r.at]
		r.at++
		switch {
		case c >= '0' && c <= '9':
			unit = unit<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			unit = unit<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			unit = unit<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return unit, true
}
