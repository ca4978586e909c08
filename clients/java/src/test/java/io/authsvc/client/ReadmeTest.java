package io.authsvc.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The pages' programs compile as they stand, and take fewer than 15 lines of the reader's own code. */
class ReadmeTest {
    private static final Pattern CLASS = Pattern.compile("\\bclass (\\w+)");

    @TempDir
    Path folder;

    private static List<String> blocks(String file, String language) throws Exception {
        List<String> found = new ArrayList<>();
        Matcher matcher = Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(Path.of(file)));
        while (matcher.find()) {
            found.add(matcher.group(1));
        }
        return found;
    }

    /** Counts the lines that hold more than an import, a comment, an annotation or a closing bracket. */
    private static long ownLines(String program) {
        return program.lines()
                .map(String::strip)
                .filter(line -> !line.matches("import .*|//.*|@\\w+|[{}(),;]*"))
                .count();
    }

    /** Both languages show the same programs, they compile, and the test among them passes. */
    @Test
    void programsCompile() throws Exception {
        List<String> programs = blocks("README.md", "java");
        assertEquals(3, programs.size());
        assertEquals(programs, blocks("README.zh-CN.md", "java"));
        List<String> command = new ArrayList<>(List.of(
                "-proc:none", "-Xlint:all,-serial", "-Werror", "-d", folder.toString(),
                "-cp", System.getProperty("java.class.path")));
        for (String program : programs) {
            Matcher name = CLASS.matcher(program);
            assertTrue(name.find());
            Path source = folder.resolve(name.group(1) + ".java");
            Files.writeString(source, program);
            command.add(source.toString());
            long lines = ownLines(program);
            assertTrue(lines < 15, name.group(1) + " has " + lines + " lines of own code");
        }
        assertEquals(0, ToolProvider.getSystemJavaCompiler().run(null, null, null, command.toArray(String[]::new)));
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
            Class<?> shown = loader.loadClass("OrdersTest");
            var made = shown.getDeclaredConstructor();
            made.setAccessible(true);
            Method test = shown.getDeclaredMethod("aliceMayRead");
            test.setAccessible(true);
            test.invoke(made.newInstance());
        }
    }

    /** The pages' pom asks for what this build makes and was tested with, and both languages show the same one. */
    @Test
    void pomIsCurrent() throws Exception {
        List<String> shown = blocks("README.md", "xml");
        assertEquals(1, shown.size());
        assertEquals(shown, blocks("README.zh-CN.md", "xml"));
        String pom = Files.readString(Path.of("pom.xml"));
        for (String version : List.of("<version>(.*?)</version>", "<jetty.version>(.*?)</jetty.version>")) {
            Matcher matcher = Pattern.compile(version).matcher(pom);
            assertTrue(matcher.find());
            assertTrue(shown.get(0).contains("<version>" + matcher.group(1) + "</version>"), matcher.group(1));
        }
        assertTrue(pom.contains("<artifactId>authsvc-client</artifactId>\n  <version>"), "the first version is this artifact's");
    }
}
