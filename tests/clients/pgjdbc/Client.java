// What pgjdbc does by itself, one thing after the other: `java -cp postgresql.jar Client.java URL`. A line each: what, and what came of it.

import java.io.ByteArrayOutputStream;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Arrays;
import org.postgresql.PGConnection;

public class Client {
    interface Tried {
        Object run() throws Exception;
    }

    /** What came of it; of an error its SQLSTATE and text. */
    static void told(String what, Tried tried) {
        String came;
        try {
            came = String.valueOf(tried.run());
        } catch (SQLException exc) {
            came = exc.getSQLState() + " " + exc.getMessage().replace('\n', ' ');
        } catch (Exception exc) {
            came = exc.toString().replace('\n', ' ');
        }
        System.out.println(what + "\t" + came);
    }

    public static void main(String[] given) throws Exception {
        try (Connection connection = DriverManager.getConnection(given[0])) {
            told("named", () -> named(connection));
            told("batch", () -> batch(connection));
            told("pages", () -> pages(connection));
            told("several", () -> several(connection));
            told("savepoint", () -> savepoint(connection));
            told("setting", () -> setting(connection));
            told("copy", () -> copy(connection));
            told("after copy", () -> one(connection, "SELECT 'goes on'"));
            told("large object", () -> largeObject(connection));
            told("after large object", () -> one(connection, "SELECT 'goes on'"));
            told("cancel", () -> cancelled(connection));
            told("error", () -> one(connection, "SELECT 1 / 0"));
            told("at last", () -> one(connection, "SELECT 'goes on'"));
        }
        try (Connection simple = DriverManager.getConnection(given[0] + "&preferQueryMode=simple")) {
            told("simple", () -> several(simple));
        }
    }

    static Object one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getObject(1);
        }
    }

    /** From the fifth time on the driver runs it under a name. */
    static Object named(Connection connection) throws SQLException {
        StringBuilder names = new StringBuilder();
        try (PreparedStatement statement = connection.prepareStatement("SELECT name FROM people WHERE id = ?")) {
            for (int id = 1; id <= 8; id++) {
                statement.setInt(1, id);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    names.append(rows.getString(1)).append(',');
                }
            }
        }
        return names;
    }

    static Object batch(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO notes (body) VALUES (?)")) {
            for (int number = 0; number < 20; number++) {
                statement.setString(1, "jdbc " + number);
                statement.addBatch();
            }
            return Arrays.stream(statement.executeBatch()).sum();
        }
    }

    /** Through a portal, so many rows at once. */
    static Object pages(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        int count = 0;
        try (PreparedStatement statement = connection.prepareStatement("SELECT id FROM people ORDER BY id")) {
            statement.setFetchSize(80);
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) {
                    count++;
                }
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
        return count;
    }

    static Object several(Connection connection) throws SQLException {
        StringBuilder seen = new StringBuilder();
        try (Statement statement = connection.createStatement()) {
            boolean rows = statement.execute("SELECT 1; SELECT 2");
            while (rows) {
                try (ResultSet found = statement.getResultSet()) {
                    found.next();
                    seen.append(found.getInt(1)).append(',');
                }
                rows = statement.getMoreResults();
            }
        }
        return seen;
    }

    static Object savepoint(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        Savepoint kept = connection.setSavepoint();
        String state = "";
        try {
            one(connection, "SELECT 1 FROM nowhere");
        } catch (SQLException exc) {
            state = exc.getSQLState();
        }
        connection.rollback(kept);
        Object after = one(connection, "SELECT 'goes on'");
        connection.commit();
        connection.setAutoCommit(true);
        return state + " " + after;
    }

    static Object setting(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("SET extra_float_digits = 1");
        }
        return one(connection, "SHOW extra_float_digits");
    }

    static Object copy(Connection connection) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        return connection.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY people TO STDOUT", out);
    }

    static Object largeObject(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try {
            return connection.unwrap(PGConnection.class).getLargeObjectAPI().createLO();
        } finally {
            connection.rollback();
            connection.setAutoCommit(true);
        }
    }

    static Object cancelled(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            return statement.execute("SELECT pg_sleep(60)");
        }
    }
}
