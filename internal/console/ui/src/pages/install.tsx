export default function Install() {
  return <h1>Install</h1>;
}
