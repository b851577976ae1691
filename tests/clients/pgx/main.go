// What pgx does by itself, one thing after the other: `pgx CONNINFO`. A line each: what, and what came of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// told prints what came of it; of an error of Postgres its SQLSTATE and text.
func told(what string, came any, err error) {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		came = said.Code + " " + said.Message
	} else if err != nil {
		came = err.Error()
	}
	fmt.Printf("%s\t%v\n", what, came)
}

func main() {
	config, err := pgx.ParseConfig(os.Args[1])
	if err != nil {
		panic(err)
	}
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 30 * time.Second}
	}
	ctx := context.Background()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		panic(err)
	}
	defer conn.Close(ctx)
	named(ctx, conn)
	batch(ctx, conn)
	several(ctx, conn)
	savepoint(ctx, conn)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"body"}, pgx.CopyFromRows([][]any{{"copied"}}))
	told("copy", "copied", err)
	one(ctx, conn, "after copy", "SELECT 'goes on'")
	bounded, end := context.WithTimeout(ctx, time.Second)
	_, err = conn.Exec(bounded, "SELECT pg_sleep(60)")
	end()
	told("cancel", "slept", err)
	one(ctx, conn, "error", "SELECT 1 / 0")
	one(ctx, conn, "at last", "SELECT 'goes on'")
}

func one(ctx context.Context, conn *pgx.Conn, what string, sql string) {
	var found any
	err := conn.QueryRow(ctx, sql).Scan(&found)
	told(what, found, err)
}

// named: pgx prepares what it runs under names of its own, and keeps them.
func named(ctx context.Context, conn *pgx.Conn) {
	var names []string
	for id := 1; id <= 3; id++ {
		var name string
		if err := conn.QueryRow(ctx, "SELECT name FROM people WHERE id = $1", id).Scan(&name); err != nil {
			told("named", nil, err)
			return
		}
		names = append(names, name)
	}
	told("named", strings.Join(names, ","), nil)
}

// batch: many statements in one pipeline.
func batch(ctx context.Context, conn *pgx.Conn) {
	all := &pgx.Batch{}
	for number := range 20 {
		all.Queue("INSERT INTO notes (body) VALUES ($1)", fmt.Sprintf("pgx %d", number))
	}
	all.Queue("SELECT count(*) FROM people")
	results := conn.SendBatch(ctx, all)
	rows := int64(0)
	for range 20 {
		tag, err := results.Exec()
		if err != nil {
			told("batch", nil, err)
			return
		}
		rows += tag.RowsAffected()
	}
	var people int
	err := results.QueryRow().Scan(&people)
	told("batch", fmt.Sprintf("%d %d", rows, people), errors.Join(err, results.Close()))
}

// several commands in one simple query.
func several(ctx context.Context, conn *pgx.Conn) {
	results, err := conn.PgConn().Exec(ctx, "SELECT 1; SELECT 2").ReadAll()
	var seen []string
	for _, result := range results {
		seen = append(seen, string(result.Rows[0][0]))
	}
	told("several", strings.Join(seen, ","), err)
}

func savepoint(ctx context.Context, conn *pgx.Conn) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		told("savepoint", nil, err)
		return
	}
	inner, _ := tx.Begin(ctx)
	_, err = inner.Exec(ctx, "SELECT 1 FROM nowhere")
	var said *pgconn.PgError
	errors.As(err, &said)
	state := said.Code
	err = inner.Rollback(ctx)
	told("savepoint", state, errors.Join(err, tx.Commit(ctx)))
}
