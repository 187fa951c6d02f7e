// A pool on whose connections the server's clock is moved on: what a statement takes for now is set before each one.

/** `movedMs` answers by how many milliseconds; its connections are those of `mysql2/promise` or `mariadb`. */
export function movedClock(pool, movedMs) {
  return {
    async getConnection() {
      const connection = await pool.getConnection();
      const moved = Object.create(connection);
      moved.query = async (statement) => {
        // SYSDATE() goes on while `timestamp` is set.
        await connection.query({ sql: `SET timestamp = UNIX_TIMESTAMP(SYSDATE(6)) + ${movedMs() / 1_000}` });
        return connection.query(statement);
      };
      moved.release = () => {
        const put = connection.query({ sql: "SET timestamp = DEFAULT" });
        put.then(
          () => connection.release(),
          () => connection.destroy(),
        );
      };
      moved.destroy = () => connection.destroy();
      return moved;
    },
  };
}
